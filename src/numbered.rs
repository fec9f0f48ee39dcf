//! The names that a file gets when its own is taken.

use std::iter;
use std::path::{Path, PathBuf};

/// `wanted`, then `name-1.ext`, `name-2.ext`, … beside it.
pub fn numbered(wanted: &Path) -> impl Iterator<Item = PathBuf> {
    let stem = wanted.file_stem().unwrap_or_default().to_owned();
    let with = move |n: u32| {
        let mut name = stem.clone();
        name.push(format!("-{n}"));
        if let Some(extension) = wanted.extension() {
            name.push(".");
            name.push(extension);
        }
        wanted.with_file_name(name)
    };
    iter::once(wanted.to_owned()).chain((1..=u32::MAX).map(with))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_stands_before_the_last_extension() {
        let names = |wanted: &str| -> Vec<_> { numbered(Path::new(wanted)).take(3).collect() };
        assert_eq!(names("a/b.tar.gz"), ["a/b.tar.gz", "a/b.tar-1.gz", "a/b.tar-2.gz"].map(PathBuf::from));
        assert_eq!(names("plain"), ["plain", "plain-1", "plain-2"].map(PathBuf::from));
    }
}
