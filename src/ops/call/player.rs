//! Speaker and window: what `--play` needs.

use super::options::ReceiveOptions;
use super::outputs::AUDIO;
use crate::error::{Error, ErrorKind};
use crate::filter::FarEnd;
use crate::media::DeviceSalt;
use crate::ops::media::{Hearing, TerminalScreen, Viewing};
use crate::peer::MediaPlan;
use crate::progress::{Event, Progress};
use crate::sound::Playout;
use std::sync::Arc;

/// What plays what is received.
#[derive(Default)]
pub(super) struct Player {
    pub hearing: Option<Hearing>,
    pub viewing: Option<Viewing>,
}

impl Player {
    /// Opens what `--play` needs of what is to be received. What is missing is told; only when nothing is left it is an error.
    pub(super) async fn open(
        options: &ReceiveOptions,
        plan: &MediaPlan,
        screen: Option<TerminalScreen>,
        salt: DeviceSalt,
        far_end: FarEnd,
        progress: &Arc<dyn Progress>,
    ) -> Result<Self, Error> {
        if !options.play {
            return Ok(Self::default());
        }
        let playout = Playout::new();
        let viewing = match plan.receive_video {
            true => Viewing::start("rtckit", screen, playout.clone())?,
            false => None,
        };
        let hearing = match plan.receive_audio {
            true => {
                let sink_id = options.sink_id.clone();
                let opening = tokio::task::spawn_blocking(move || {
                    Hearing::open(sink_id.as_deref(), &salt, AUDIO, far_end, playout)
                });
                opening
                    .await
                    .unwrap_or_else(|error| Err(Error::new(ErrorKind::Internal, "OperationError", error.to_string())))
            }
            false => Err(Error::new(ErrorKind::Device, "NotFoundError", "there is nothing to play")),
        };
        let warn = |message: String| progress.event(Event::Warning { message });
        if plan.receive_video && viewing.is_none() {
            warn("there is neither a display nor a terminal: pictures are not shown".to_owned());
        }
        match hearing {
            Ok(hearing) => Ok(Self { hearing: Some(hearing), viewing }),
            Err(error) if viewing.is_none() => Err(error.at("play")),
            Err(error) => {
                if plan.receive_audio {
                    warn(format!("{error}: sound is not played"));
                }
                Ok(Self { hearing: None, viewing })
            }
        }
    }
}
