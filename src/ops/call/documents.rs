//! What a call leaves behind for other programs besides its report: JUnit XML, and a dump of its statistics.

use super::dump::Dump;
use super::options::Options;
use super::report::{Outcome, Report};
use crate::error::{Error, ErrorKind};
use crate::ops::junit::{self, Case, CaseResult, Complaint, Suite};
use crate::record::{Output, Target};
use std::sync::Arc;

/// The documents, opened before the call so that what cannot be written is found in time.
pub(super) struct Documents {
    junit: Option<Output>,
    dump: Option<(Output, Arc<Dump>)>,
}

impl Documents {
    pub(super) fn open(options: &Options) -> Result<Self, Error> {
        let existing = options.receive.existing;
        let junit = options.junit.clone().map(|path| Output::create(Target::File(path), existing));
        let dump = options.stats_dump.clone().map(|path| Output::create(Target::File(path), existing));
        Ok(Self { junit: junit.transpose()?, dump: dump.transpose()?.map(|output| (output, Arc::default())) })
    }

    /// Where the course of the call is to be noted.
    pub(super) fn dump(&self) -> Option<Arc<Dump>> {
        self.dump.as_ref().map(|(_, dump)| Arc::clone(dump))
    }

    /// Writes them. Blocks.
    pub(super) fn finish(self, outcome: &Outcome) -> Result<(), Error> {
        if let Some(output) = self.junit {
            write(output, junit_of(outcome).as_bytes())?;
        }
        if let Some((output, dump)) = self.dump {
            let text = dump.document(outcome.report.role).to_string();
            write(output, text.as_bytes())?;
        }
        Ok(())
    }
}

fn write(mut output: Output, bytes: &[u8]) -> Result<(), Error> {
    output.write(bytes)?;
    output.finish()?;
    Ok(())
}

fn junit_of(outcome: &Outcome) -> String {
    let report = &outcome.report;
    let result = match &outcome.error {
        // That an expectation did not hold stands with it.
        Some(error) if error.kind() != ErrorKind::Threshold => CaseResult::Error(Complaint {
            kind: error.name().to_owned(),
            message: error.to_string(),
            text: error.hint().unwrap_or_default().to_owned(),
        }),
        _ => CaseResult::Passed,
    };
    let call = Case { name: report.role.to_owned(), seconds: report.seconds, result };
    let peer = report.peer.iter().flat_map(|peer| expectations(peer));
    let cases = [call].into_iter().chain(expectations(report)).chain(peer).collect();
    let name = format!("rtckit {}", report.role);
    junit::document(&name, report.seconds, &[Suite { name: name.clone(), cases }])
}

fn expectations(report: &Report) -> impl Iterator<Item = Case> {
    report.expectations.iter().map(|judged| Case {
        name: judged.expectation.clone(),
        seconds: 0.0,
        result: match judged.holds {
            true => CaseResult::Passed,
            false => CaseResult::Failure(Complaint {
                kind: "expect".to_owned(),
                message: judged.found_in_words(),
                text: String::new(),
            }),
        },
    })
}
