//! One operation per subcommand: `Options` in, work, `Report` out. Picks the concrete backends and wires them.
//!
//! The binary parses a command line into options and renders the report; everything between is here and below.
//! Nothing here prints: what happens meanwhile goes to a [`Progress`](crate::progress::Progress).

pub mod call;
pub mod capture;
pub mod control;
mod destination;
pub mod devices;
pub mod junit;
pub mod media;
#[cfg(test)]
mod meeting;
pub mod record;
mod road;
pub mod screen;
pub mod signal;
pub mod transfer;
pub mod turn_probe;

/// Lets the process have as many files open as it may; usually it begins with about a thousand.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err() {
        tracing::warn!("no more than {} descriptors can be open", current.unwrap_or_default());
    }
}
