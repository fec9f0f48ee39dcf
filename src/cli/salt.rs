//! The salt of this user's device IDs: drawn once, kept in `$XDG_STATE_HOME/rtckit/device-salt`, readable by the user alone.

use rtckit::media::DeviceSalt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The salt, and what to tell the user when it could not be kept.
pub fn load() -> (DeviceSalt, Option<String>) {
    let kept = match file(&|name| std::env::var_os(name)) {
        Some(path) => read_or_create(&path).map_err(|error| format!("{}: {error}", path.display())),
        None => Err("neither HOME nor XDG_STATE_HOME is set".to_owned()),
    };
    match kept {
        Ok(salt) => (salt, None),
        Err(why) => {
            let warning = format!("device IDs will not be the same next time, their salt cannot be kept: {why}");
            (draw().map(DeviceSalt::new).unwrap_or_default(), Some(warning))
        }
    }
}

/// `$XDG_STATE_HOME/rtckit/device-salt`, by default in `~/.local/state`.
fn file(variable: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(base.join("rtckit").join("device-salt"))
}

fn draw() -> io::Result<[u8; DeviceSalt::BYTES]> {
    let mut bytes = [0; DeviceSalt::BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read(path: &Path) -> io::Result<DeviceSalt> {
    let bytes = fs::read(path)?;
    let bytes = bytes.try_into().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not 32 bytes long"))?;
    Ok(DeviceSalt::new(bytes))
}

fn read_or_create(path: &Path) -> io::Result<DeviceSalt> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => return done,
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // Under another name first, so that nobody ever reads half of it; of two that come at once the first one's stays.
    let fresh = folder.join(format!(".device-salt.{}", std::process::id()));
    let mut created = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    let written = created.write_all(&draw()?).and_then(|()| created.sync_all());
    let linked = written.and_then(|()| match fs::hard_link(&fresh, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let _ = fs::remove_file(&fresh);
    linked?;
    read(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_salt_is_drawn_once_and_for_this_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/device-salt");
        let first = read_or_create(&path).unwrap();
        assert!(first != DeviceSalt::default());
        assert!(first == read_or_create(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_damaged_salt_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device-salt");
        fs::write(&path, b"short").unwrap();
        assert!(read_or_create(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"short");
    }

    #[test]
    fn the_place_is_that_of_the_xdg_folders() {
        let place = |variables: &[(&str, &str)]| {
            file(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
        };
        assert_eq!(place(&[("HOME", "/h")]), Some("/h/.local/state/rtckit/device-salt".into()));
        assert_eq!(place(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]), Some("/s/rtckit/device-salt".into()));
        assert_eq!(place(&[]), None);
    }
}
