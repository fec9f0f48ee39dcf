//! How cameras hand over pixels, and the conversion of each way to I420.

use std::fmt;

/// An arrangement of pixels, by its V4L2 FourCC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PixelFormat {
    /// Planes of Y, U and V at half size: ours.
    Yu12,
    /// The same with V before U.
    Yv12,
    /// A plane of Y and one of U and V by turns.
    Nv12,
    /// A plane of Y and one of V and U by turns.
    Nv21,
    /// Y U Y V, chroma at half width.
    Yuyv,
    /// U Y V Y.
    Uyvy,
    /// Y V Y U.
    Yvyu,
    /// V Y U Y.
    Vyuy,
    /// Planes of Y, U and V, chroma at half width.
    Yu16,
    /// Y alone.
    Grey,
    /// R G B, 8 bits each.
    Rgb3,
    /// B G R.
    Bgr3,
    /// B G R and a byte that means nothing.
    Xr24,
    /// B G R A.
    Ar24,
    /// JPEG images.
    Mjpg,
    /// JPEG images, by another name.
    Jpeg,
}

impl PixelFormat {
    /// All of them, the cheapest to turn into I420 first.
    pub const ALL: [Self; 16] = [
        Self::Yu12,
        Self::Yv12,
        Self::Nv12,
        Self::Nv21,
        Self::Yuyv,
        Self::Uyvy,
        Self::Yvyu,
        Self::Vyuy,
        Self::Yu16,
        Self::Bgr3,
        Self::Rgb3,
        Self::Xr24,
        Self::Ar24,
        Self::Mjpg,
        Self::Jpeg,
        // It has no colours, so it comes after everything that has.
        Self::Grey,
    ];

    /// Its FourCC.
    pub const fn fourcc(self) -> &'static str {
        match self {
            Self::Yu12 => "YU12",
            Self::Yv12 => "YV12",
            Self::Nv12 => "NV12",
            Self::Nv21 => "NV21",
            Self::Yuyv => "YUYV",
            Self::Uyvy => "UYVY",
            Self::Yvyu => "YVYU",
            Self::Vyuy => "VYUY",
            Self::Yu16 => "422P",
            Self::Grey => "GREY",
            Self::Rgb3 => "RGB3",
            Self::Bgr3 => "BGR3",
            Self::Xr24 => "XR24",
            Self::Ar24 => "AR24",
            Self::Mjpg => "MJPG",
            Self::Jpeg => "JPEG",
        }
    }

    /// Bytes of a line of the first plane without padding; 0 where there are no lines.
    pub(super) const fn least_stride(self, width: u32) -> u32 {
        match self {
            Self::Yu12 | Self::Yv12 | Self::Nv12 | Self::Nv21 | Self::Yu16 | Self::Grey => width,
            Self::Yuyv | Self::Uyvy | Self::Yvyu | Self::Vyuy => width * 2,
            Self::Rgb3 | Self::Bgr3 => width * 3,
            Self::Xr24 | Self::Ar24 => width * 4,
            Self::Mjpg | Self::Jpeg => 0,
        }
    }

    /// The arrangement with this FourCC.
    pub fn from_fourcc(fourcc: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.fourcc() == fourcc)
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.fourcc())
    }
}
