//! Which camera, in which mode.

use super::{Camera, CameraSource, cameras};
use crate::capture::CaptureError;
use crate::capture::crop_scale::CropAndScale;
use crate::media::{
    ConsideredVideo, DeviceInfo, DeviceSalt, NoSuchDevice, Overconstrained, ResizeMode, Source, VideoChoice,
    VideoConstraints, VideoFormat, VideoFrame, VideoOffer, VideoSettings, select_video,
};
use std::time::Instant;

/// What SelectSettings makes of the cameras that are there.
pub struct Selection {
    /// The cameras among which was chosen.
    pub cameras: Vec<Camera>,
    /// The choice, or the constraint that none can meet.
    pub chosen: Result<VideoChoice, Overconstrained>,
    /// Every native mode and what is made of it, with what is thought of it.
    pub considered: Vec<ConsideredVideo>,
}

/// An open camera.
pub struct OpenCamera {
    /// What its track is set to.
    pub settings: VideoSettings,
    /// The shape of its pictures.
    pub format: VideoFormat,
    /// Its pictures.
    pub source: Box<dyn Source<VideoFrame>>,
}

/// Considers the camera that `id` names, or all. Blocks while drivers are asked.
///
/// # Errors
/// When there is no camera, or none of that name.
pub fn consider(
    id: Option<&str>,
    salt: &DeviceSalt,
    constraints: &VideoConstraints,
) -> Result<Selection, CaptureError> {
    let mut cameras = cameras();
    if let Some(id) = id {
        cameras = vec![named(&cameras, id, salt)?];
    }
    if cameras.is_empty() {
        return Err(CaptureError::NoSuchDevice { what: "camera".to_owned(), detail: "there is none".to_owned() });
    }
    let offers: Vec<VideoOffer> = cameras.iter().map(|camera| camera.offer(salt)).collect();
    let (chosen, considered) = select_video(&offers, constraints);
    Ok(Selection { cameras, chosen, considered })
}

/// Opens the camera and mode that suit best, and starts it. The timeline of its pictures begins at `origin`.
///
/// # Errors
/// When there is no such camera, when a constraint cannot be met, and when the camera is busy, denied or gone.
pub fn open(
    id: Option<&str>,
    salt: &DeviceSalt,
    constraints: &VideoConstraints,
    origin: Instant,
) -> Result<OpenCamera, CaptureError> {
    let Selection { cameras, chosen, .. } = consider(id, salt, constraints)?;
    let VideoChoice { offer, mode, mut settings } = chosen.map_err(|error| {
        let source_name = match &cameras[..] {
            [only] => only.label.clone(),
            several => format!("{} cameras", several.len()),
        };
        CaptureError::Overconstrained { source_name, error }
    })?;
    let source = CameraSource::open(&cameras[offer], &mode, origin)?;
    let native = source.format();
    if settings.resize_mode == ResizeMode::None {
        // What the driver made of the rate.
        settings.frame_rate = native.frame_rate;
        return Ok(OpenCamera { format: native, settings, source: Box::new(source) });
    }
    let format = settings.format();
    Ok(OpenCamera { format, settings, source: Box::new(CropAndScale::new(source, native, format)) })
}

fn named(cameras: &[Camera], id: &str, salt: &DeviceSalt) -> Result<Camera, CaptureError> {
    let what = format!("camera:{id}");
    // A link such as those of /dev/v4l/by-id names the node behind it.
    let target = std::fs::canonicalize(id).ok().filter(|_| id.starts_with('/'));
    let id = target.as_ref().and_then(|path| path.to_str()).unwrap_or(id);
    let infos: Vec<DeviceInfo> = cameras.iter().map(|camera| camera.info(salt, false)).collect();
    let detail = match DeviceInfo::find(&infos, id) {
        Ok(found) => {
            let index = infos.iter().position(|info| std::ptr::eq(info, found)).unwrap_or_default();
            return Ok(cameras[index].clone());
        }
        Err(NoSuchDevice::Unknown) if cameras.is_empty() => "there is no camera".to_owned(),
        Err(NoSuchDevice::Unknown) => "no camera has this ID, path or label".to_owned(),
        Err(NoSuchDevice::Ambiguous(labels)) => format!("several answer to it: {}", labels.join(", ")),
    };
    Err(CaptureError::NoSuchDevice { what, detail })
}
