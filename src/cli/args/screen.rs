//! How screens and windows are captured.

use crate::cli::value::possible;
use clap::Args;
use rtckit::ops::call::{CursorCapture, Region, ScreenOptions};
use std::path::PathBuf;

/// What a display surface is asked besides constraints.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Screens")]
pub struct ScreenArgs {
    /// Capture a part of the screen or window: pixels from its left and top, width and height
    #[arg(long, value_name = "X,Y,WxH")]
    pub region: Option<Region>,
    /// Whether the cursor is seen: always, while it moves, or never
    #[arg(long, value_name = "WHEN", default_value_t, value_parser = possible(CursorCapture::ALL))]
    pub cursor: CursorCapture,
    /// Ask the desktop portal for the surface, and keep its permission in this file, so that nobody is asked the next time
    #[arg(long, value_name = "FILE")]
    pub restore_token: Option<PathBuf>,
}

impl ScreenArgs {
    /// What these ask for.
    pub fn options(self) -> ScreenOptions {
        let Self { region, cursor, restore_token } = self;
        ScreenOptions { region, cursor, restore_token, display: None }
    }
}
