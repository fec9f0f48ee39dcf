use super::*;
use crate::media::MediaTime;

/// A picture of one colour, given as red, green and blue.
fn flat(color: [u8; 3], width: u32, height: u32) -> I420 {
    let [r, g, b] = color.map(|part| f64::from(part) / 255.0);
    let planes = [
        16.0 + 65.481 * r + 128.553 * g + 24.966 * b,
        128.0 - 37.797 * r - 74.203 * g + 112.0 * b,
        128.0 + 112.0 * r - 93.786 * g - 18.214 * b,
    ];
    let mut picture = I420::new(width, height);
    for (plane, value) in picture.planes_mut().into_iter().zip(planes) {
        plane.fill(value.round() as u8);
    }
    picture
}

/// Red, green and blue of a pixel.
fn color(picture: &I420, x: usize, y: usize) -> [f64; 3] {
    let [luma, u, v] = picture.planes();
    let chroma = y / 2 * picture.chroma_width() as usize + x / 2;
    let luma = 255.0 / 219.0 * (f64::from(luma[y * picture.width() as usize + x]) - 16.0);
    let (u, v) = (f64::from(u[chroma]) - 128.0, f64::from(v[chroma]) - 128.0);
    [luma + 1.596_027 * v, luma - 0.391_762 * u - 0.812_968 * v, luma + 2.017_232 * u]
        .map(|part| part.clamp(0.0, 255.0))
}

fn filtered(list: &str, picture: I420) -> VideoFrame {
    PictureFilter::new(list.parse().unwrap()).apply(&VideoFrame::new(MediaTime::from_micros(7), picture))
}

fn near(list: &str, picture: &I420, x: usize, y: usize, expected: [f64; 3]) {
    let got = color(picture, x, y);
    let far = got.iter().zip(expected).any(|(got, expected)| (got - expected).abs() > 3.5);
    assert!(!far, "{list} at {x},{y}: {got:.1?}, expected {expected:.1?}");
}

#[test]
fn each_function_has_the_colours_of_the_specification() {
    // Worked out by hand from the tables of the specification, for rgb(200, 100, 50).
    for (list, expected) in [
        ("none", [200.0, 100.0, 50.0]),
        ("grayscale(1)", [117.7, 117.7, 117.7]),
        ("grayscale(50%)", [158.8, 108.8, 83.8]),
        ("sepia(1)", [165.0, 146.8, 114.4]),
        ("saturate(0)", [117.7, 117.7, 117.7]),
        ("saturate(2)", [255.0, 82.3, 0.0]),
        ("hue-rotate(90deg)", [50.0, 146.2, 35.4]),
        ("hue-rotate(180deg)", [35.4, 135.4, 185.4]),
        ("invert(1)", [55.0, 155.0, 205.0]),
        ("invert(0.25)", [163.75, 113.75, 88.75]),
        ("brightness(50%)", [100.0, 50.0, 25.0]),
        ("brightness(2)", [255.0, 200.0, 100.0]),
        ("contrast(50%)", [163.75, 113.75, 88.75]),
        ("contrast(2)", [255.0, 72.5, 0.0]),
        ("contrast(0)", [127.5, 127.5, 127.5]),
        // What is transparent shows black.
        ("opacity(50%)", [100.0, 50.0, 25.0]),
        ("opacity(50%) invert(1)", [27.5, 77.5, 102.5]),
        ("opacity(0) invert(1)", [0.0, 0.0, 0.0]),
        // Half of a colour that was clamped.
        ("brightness(2) brightness(50%)", [127.5, 100.0, 50.0]),
        ("brightness(50%) brightness(2)", [200.0, 100.0, 50.0]),
        ("invert(1) grayscale(1) invert(1)", [117.7, 117.7, 117.7]),
        // An opaque picture hides its shadow.
        ("drop-shadow(5px 5px red)", [200.0, 100.0, 50.0]),
        ("opacity(50%) drop-shadow(0 0 rgb(0 0 255))", [100.0, 50.0, 25.0 + 63.75]),
    ] {
        for (width, height) in [(64, 48), (33, 17)] {
            let picture = filtered(list, flat([200, 100, 50], width, height));
            assert_eq!((picture.width(), picture.height(), picture.time.micros()), (width, height, 7));
            for (x, y) in [(0, 0), (31, 16), (32, 16), (width as usize - 1, height as usize - 1)] {
                near(list, &picture, x, y, expected);
            }
        }
    }
}

#[test]
fn black_and_white_stay_what_they_are_under_what_keeps_them() {
    for list in ["grayscale(1)", "saturate(3)", "hue-rotate(77deg)", "contrast(3)", "invert(1) invert(1)"] {
        for shade in [[0; 3], [255; 3]] {
            near(list, &filtered(list, flat(shade, 40, 40)), 20, 20, shade.map(f64::from));
        }
    }
}

#[test]
fn a_blurred_picture_fades_at_its_edges_and_nowhere_else() {
    for list in ["blur(1px)", "blur(4px)"] {
        let picture = filtered(list, flat([200, 100, 50], 64, 48));
        near(list, &picture, 32, 24, [200.0, 100.0, 50.0]);
        let edge = color(&picture, 0, 24)[0];
        assert!((90.0..160.0).contains(&edge), "{list}: about half at the edge, {edge}");
        let corner = color(&picture, 0, 0)[0];
        assert!(corner < 0.85 * edge, "{list}: less in the corner, {corner}");
    }
    // What is inverted behind the blur is as transparent as what was blurred.
    let list = "blur(4px) invert(1)";
    let picture = filtered(list, flat([255; 3], 64, 48));
    near(list, &picture, 0, 24, [0.0; 3]);
}

#[test]
fn light_comes_back_from_beyond_the_edge() {
    // The shadow lies outside of the opaque picture; the blur brings some of it in.
    let with = filtered("drop-shadow(8px 0 white) blur(4px)", flat([0; 3], 64, 48));
    let without = filtered("blur(4px)", flat([0; 3], 64, 48));
    let (with, without) = (color(&with, 63, 24)[0], color(&without, 63, 24)[0]);
    assert!(with > without + 60.0, "{with} {without}");
    // A shadow to the right of a picture that was blurred shows where the picture has faded: on its right edge.
    let picture = filtered("blur(4px) drop-shadow(6px 0 red)", flat([0; 3], 64, 48));
    let (right, left) = (color(&picture, 63, 24)[0], color(&picture, 0, 24)[0]);
    assert!(right > 100.0 && left < 40.0, "{right} {left}");
}

#[test]
fn a_new_size_is_met_with_a_new_plan() {
    let mut filter = PictureFilter::new("blur(2px) invert(1)".parse().unwrap());
    for (width, height) in [(64, 48), (33, 17), (1, 1), (2, 90)] {
        let frame = VideoFrame::new(MediaTime::ZERO, flat([9, 200, 100], width, height));
        let picture = filter.apply(&frame);
        assert_eq!((picture.width(), picture.height()), (width, height));
    }
}

#[test]
fn neighbouring_matrices_cost_one_pass_and_often_one_matrix() {
    for (list, passes, matrices) in [
        ("grayscale(1) invert(1) contrast(0.5)", 1, 1),
        ("saturate(2) sepia(1) hue-rotate(90deg)", 1, 3),
        ("grayscale(1) blur(3px) invert(1)", 2, 1),
        ("sepia(1) blur(3px) invert(1)", 3, 2),
        ("blur(0) grayscale(0) brightness(1) opacity(1)", 0, 0),
        ("drop-shadow(1px 1px red)", 0, 0),
    ] {
        let plan = Plan::new(&list.parse().unwrap(), (64, 48));
        assert_eq!((plan.passes(), plan.matrices()), (passes, matrices), "{list}");
    }
}

#[test]
fn any_list_on_any_small_picture_gives_a_picture() {
    let functions = [
        "blur(0.4px)",
        "blur(300px)",
        "drop-shadow(-40px 3.5px 2px #f008)",
        "drop-shadow(0 0)",
        "opacity(0.3)",
        "invert(1)",
        "contrast(40)",
        "hue-rotate(1rad)",
    ];
    for first in functions {
        for second in functions {
            for (width, height) in [(1, 1), (3, 2), (17, 5)] {
                filtered(&format!("{first} {second}"), flat([255, 0, 255], width, height));
            }
        }
    }
}
