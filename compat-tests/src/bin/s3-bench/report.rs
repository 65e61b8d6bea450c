//! The figures as a table and as JSON.

use bytesize::ByteSize;
use serde_json::{Value, json};

use crate::figures::Figures;
use crate::measure::{Case, Measured};
use crate::targets::Target;

/// What was measured, for every case and server.
pub(crate) struct Report<'a> {
    cases: &'a [Case],
    servers: Vec<String>,
    /// By case, then by server.
    measured: Vec<Vec<Measured>>,
}

/// One line of the report.
struct Line<'a> {
    case: &'a Case,
    server: &'a str,
    measured: &'a Measured,
    figures: Figures,
}

impl<'a> Report<'a> {
    /// Nothing yet.
    pub(crate) fn new(targets: &[Target], cases: &'a [Case]) -> Self {
        let servers: Vec<String> = targets.iter().map(Target::name).collect();
        let of_case = || servers.iter().map(|_| Measured::default()).collect();
        Self {
            measured: cases.iter().map(|_| of_case()).collect(),
            cases,
            servers,
        }
    }

    /// Adds a measurement.
    pub(crate) fn add(&mut self, server: usize, case: usize, measured: Measured) {
        self.measured[case][server].add(measured);
    }

    /// Whether a request failed.
    pub(crate) fn has_failures(&self) -> bool {
        let mut all = self.measured.iter().flatten();
        all.any(|measured| !measured.seen.failures.is_empty())
    }

    /// One line for each case and server, and one for each kind of failure.
    pub(crate) fn table(&self) -> String {
        let width = self.servers.iter().map(String::len).max().unwrap_or(0);
        let (server, heading) = ("server", Figures::HEADING);
        let mut table = format!("op         size conns {server:width$} {heading}\n");
        for line in self.lines() {
            let size = ByteSize(line.case.size_bytes).to_string();
            let (operation, connections) = (line.case.operation, line.case.connections);
            let (server, columns) = (line.server, line.figures.columns());
            table +=
                &format!("{operation:6} {size:>8} {connections:>5} {server:width$} {columns}\n");
            for (reason, count) in &line.measured.seen.failures {
                table += &format!("  failed {count} times: {reason}\n");
            }
        }
        table
            + "cpu: the server's, per operation. client: share of one core that this program used. \
               ratio: to the first server's rate.\n"
    }

    /// The same figures, with the units in the names.
    pub(crate) fn json(&self) -> String {
        let lines = self.lines().map(|line| {
            let mut figures = line.figures.json();
            figures["server"] = json!(line.server);
            figures["operation"] = json!(line.case.operation.to_string());
            figures["size_bytes"] = json!(line.case.size_bytes);
            figures["connections"] = json!(line.case.connections);
            figures["failure_reasons"] = json!(line.measured.seen.failures);
            figures
        });
        format!("{:#}\n", Value::from_iter(lines))
    }

    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let cases = self.cases.iter().zip(&self.measured);
        cases.flat_map(|(case, measured)| {
            let reference_per_s = measured.first().map_or(f64::NAN, Measured::rate_per_s);
            let servers = self.servers.iter().zip(measured);
            servers.map(move |(server, measured)| Line {
                case,
                server,
                measured,
                figures: Figures::of(case, measured, reference_per_s),
            })
        })
    }
}
