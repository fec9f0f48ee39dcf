//! Sound and pictures for people: a speaker, and a window or the terminal, in step with each other.
//!
//! ```text
//! AudioFrame -> Hearing: FarEnd, Speaker -> Playout
//! VideoFrame -> Viewing -[Latest]-> thread: waits for its sound -> window | terminal
//! ```

use crate::error::Error;
use crate::filter::FarEnd;
use crate::media::{AudioFormat, AudioFrame, DeviceSalt, VideoFrame};
use crate::pipeline::Worker;
use crate::pipeline::queue::{Elapsed, Overflow, Receiver, Sender, bounded};
use crate::playback::{PlaybackError, Screen, Terminal, Window};
use crate::sound::{self, Playout, Role, Speaker};
use std::io::Write;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A terminal that can show pictures, given by the binary.
pub struct TerminalScreen {
    /// Where to write.
    pub out: Box<dyn Write + Send>,
    /// Columns and rows, where it tells.
    pub size: Box<dyn Fn() -> Option<(u16, u16)> + Send>,
    /// Whether it may be in colour.
    pub colored: bool,
}

/// A speaker, and who must know what it plays.
pub(in crate::ops) struct Hearing {
    speaker: Option<Speaker>,
    far_end: FarEnd,
}

impl Hearing {
    /// Opens the speaker that `sink_id` names, or the default one. Blocks for as long as the audio system takes.
    ///
    /// # Errors
    /// When there is none, or it cannot be used.
    pub(in crate::ops) fn open(
        sink_id: Option<&str>,
        salt: &DeviceSalt,
        format: AudioFormat,
        far_end: FarEnd,
        playout: Playout,
    ) -> Result<Self, Error> {
        let device = sound::find(Role::Speaker, sink_id, salt).map_err(Error::from)?;
        let speaker = Speaker::open(&device, format, playout).map_err(Error::from)?;
        Ok(Self { speaker: Some(speaker), far_end })
    }

    /// Plays a frame. A speaker that is unplugged is silent from then on; what else is done with the sound goes on.
    pub(in crate::ops) fn play(&mut self, sound: &AudioFrame) {
        let Some(speaker) = &mut self.speaker else { return };
        match speaker.write(sound) {
            Ok(()) => self.far_end.played(sound),
            Err(error) => {
                tracing::warn!("{error}");
                self.speaker = None;
            }
        }
    }

    /// Lets what is buffered be heard.
    pub(in crate::ops) fn finish(self) {
        if let Some(speaker) = self.speaker {
            speaker.drain();
        }
    }
}

/// Pictures on a screen, on a thread of their own.
pub(in crate::ops) struct Viewing {
    pictures: Option<Sender<VideoFrame>>,
    /// Closed when the thread is over.
    over: mpsc::Receiver<()>,
    _thread: Worker<()>,
}

impl Viewing {
    /// Pictures that may wait for their sound: half a second.
    const BACKLOG: usize = 16;
    /// The longest that a picture waits for its sound.
    const MOST_AHEAD: Duration = Duration::from_millis(500);
    /// How often a screen is looked after that has nothing to show.
    const IDLE: Duration = Duration::from_millis(50);
    /// How long a screen may take to be given back. A terminal that nobody reads from is left as it is.
    const LETTING_GO: Duration = Duration::from_millis(300);

    /// Begins to show pictures: in a window if there is a display, else in `terminal`. `None` where there is neither.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(in crate::ops) fn start(
        title: &'static str,
        terminal: Option<TerminalScreen>,
        playout: Playout,
    ) -> Result<Option<Self>, Error> {
        if terminal.is_none() && Window::on_display(title).is_none() {
            return Ok(None);
        }
        let (sender, pictures) = bounded(Self::BACKLOG, Overflow::Latest);
        let (alive, over) = mpsc::sync_channel(1);
        let thread = Worker::spawn("view", move || {
            let _alive: mpsc::SyncSender<()> = alive;
            if let Err(error) = view(title, terminal, &pictures, &playout) {
                tracing::warn!("{error}");
            }
            Ok(())
        })?;
        Ok(Some(Self { pictures: Some(sender), over, _thread: thread }))
    }

    /// Shows a picture when its sound is heard; at once, when none is. Whether somebody still watches.
    pub(in crate::ops) fn show(&mut self, picture: &VideoFrame) -> bool {
        if self.pictures.as_ref().is_some_and(|pictures| pictures.send(picture.clone()).is_err()) {
            self.pictures = None;
        }
        self.pictures.is_some()
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        self.pictures = None;
        // Nobody sends: what comes is the end of the thread.
        let _ = self.over.recv_timeout(Self::LETTING_GO);
    }
}

/// Shows what comes until nothing comes any more, or whoever watches has had enough.
fn view(
    title: &str,
    terminal: Option<TerminalScreen>,
    pictures: &Receiver<VideoFrame>,
    playout: &Playout,
) -> Result<(), PlaybackError> {
    let mut fallback = terminal.map(|terminal| Terminal::new(terminal.out, terminal.size, terminal.colored));
    let mut screen: Box<dyn Screen> = match (Window::on_display(title), fallback.take()) {
        (Some(window), terminal) => {
            fallback = terminal;
            Box::new(window)
        }
        (None, Some(terminal)) => Box::new(terminal),
        (None, None) => return Ok(()),
    };
    loop {
        let picture = match pictures.recv_timeout(Viewing::IDLE) {
            Ok(Some(picture)) => picture,
            Ok(None) => return Ok(()),
            Err(Elapsed) => {
                screen.idle()?;
                continue;
            }
        };
        let now = Instant::now();
        let due = playout.instant_of(picture.time).unwrap_or(now).min(now + Viewing::MOST_AHEAD);
        std::thread::sleep(due.saturating_duration_since(now));
        match (screen.show(&picture), fallback.take()) {
            (Err(PlaybackError::NoWindow(why)), Some(mut terminal)) => {
                tracing::info!("no window ({why}): pictures are shown in the terminal");
                terminal.show(&picture)?;
                screen = Box::new(terminal);
            }
            (shown, terminal) => {
                shown?;
                fallback = terminal;
            }
        }
    }
}
