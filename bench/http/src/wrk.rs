//! What wrk says of a run, and whether the run counts.
//!
//! A run with one wrong answer is thrown away and the benchmark fails: servers look fast when they answer errors. With
//! a needle, wrk looks into each body. Where that would cost more than the request itself, the bytes are added up
//! instead: so many requests of a known size must give so many bytes.

use serde::{Deserialize, Serialize};

/// The script that wrk runs.
pub(crate) const SCRIPT: &str = include_str!("../wrk/report.lua");

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) requests: u64,
    pub(crate) duration_us: u64,
    pub(crate) bytes: u64,
    /// Answers that the script found wrong.
    pub(crate) wrong: u64,
    pub(crate) non_2xx: u64,
    pub(crate) connect: u64,
    pub(crate) read: u64,
    pub(crate) write: u64,
    pub(crate) timeout: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
}

impl Run {
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 * 1e6 / self.duration_us as f64
    }
}

/// Reads the RESULT line out of what wrk printed.
pub(crate) fn parse(printed: &str) -> Result<Run, String> {
    let line = printed
        .lines()
        .find_map(|line| line.strip_prefix("RESULT "))
        .ok_or_else(|| format!("wrk printed no result: {}", printed.trim()))?;
    serde_json::from_str(line).map_err(|fault| format!("wrk's result cannot be read: {fault}: {line}"))
}

/// Why a run does not count. `response_size` is that of one whole answer, where all are of one size.
pub(crate) fn judge(run: &Run, connections: u32, response_size: Option<usize>) -> Result<(), String> {
    let faults = [
        (run.non_2xx, "answers were not 2xx"),
        (run.wrong, "answers had a wrong status or body"),
        (run.connect, "connections failed"),
        (run.read, "reads failed"),
        (run.write, "writes failed"),
        (run.timeout, "requests timed out"),
    ];
    if let Some((count, what)) = faults.iter().find(|(count, _)| *count > 0) {
        return Err(format!("{count} of {} {what}", run.requests));
    }
    if run.requests == 0 {
        return Err("no request was answered".to_owned());
    }
    if let Some(size) = response_size {
        let (want, got) = (run.requests as f64 * size as f64, run.bytes as f64);
        // Answers cut off by the end of the run, and heads that are a few bytes longer now and then.
        let slack = f64::from(connections) * size as f64 + want * 0.005;
        if (want - got).abs() > slack {
            return Err(format!(
                "{} answers had {} bytes, and not {size} each: some bodies were wrong",
                run.requests, run.bytes
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "Running 1s test @ http://127.0.0.1:1/\n  2 threads and 4 connections\nRESULT \
        {\"requests\":1000,\"duration_us\":2000000,\"bytes\":200000,\"wrong\":0,\"non_2xx\":0,\"connect\":0,\
        \"read\":0,\"write\":0,\"timeout\":0,\"p50_us\":500,\"p99_us\":900,\"max_us\":1200}\n";

    #[test]
    fn the_result_line_is_read() {
        let run = parse(PRINTED).unwrap();
        assert_eq!((run.requests, run.per_second(), run.p99_us), (1000, 500.0, 900));
        assert!(parse("unable to connect\n").unwrap_err().contains("unable to connect"));
    }

    #[test]
    fn a_wrong_answer_spoils_the_run() {
        let good = parse(PRINTED).unwrap();
        let spoilt: [(&str, Run); 5] = [
            ("not 2xx", Run { non_2xx: 1, ..good.clone() }),
            ("wrong status or body", Run { wrong: 1, ..good.clone() }),
            ("timed out", Run { timeout: 1, ..good.clone() }),
            ("no request", Run { requests: 0, bytes: 0, ..good.clone() }),
            ("bodies were wrong", Run { bytes: 180_000, ..good.clone() }),
        ];
        assert_eq!(judge(&good, 4, Some(200)), Ok(()));
        assert_eq!(judge(&Run { bytes: 200_500, ..good.clone() }, 4, Some(200)), Ok(()));
        for (word, run) in spoilt {
            assert!(judge(&run, 4, Some(200)).unwrap_err().contains(word), "{word}");
        }
    }
}
