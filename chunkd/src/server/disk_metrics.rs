//! The metrics of single disks, labelled by their data directories.

use super::metrics::{head, line};
use crate::node::{DiskHealth, DiskState};
use crate::store::StoreState;

/// A value of one disk; `None` if it cannot be asked.
type Value = fn(&DiskState) -> Option<u64>;

const METRICS: [(&str, &str, &str, Value); 7] = [
    (
        "up",
        "gauge",
        "1 while the disk serves, 0 while it is fenced off.",
        |disk| Some(u64::from(disk.health == DiskHealth::Serving)),
    ),
    (
        "writable",
        "gauge",
        "1 while the disk takes new chunks.",
        |disk| Some(u64::from(takes_chunks(disk))),
    ),
    ("chunks", "gauge", "Chunks on the disk.", |disk| {
        of_store(disk, |store| store.chunk_count)
    }),
    (
        "used_bytes",
        "gauge",
        "Bytes of chunk data on the disk.",
        |disk| of_store(disk, |store| store.used_bytes),
    ),
    (
        "free_bytes",
        "gauge",
        "Bytes free on the disk's filesystem.",
        |disk| of_store(disk, |store| store.free_bytes),
    ),
    (
        "capacity_bytes",
        "gauge",
        "Size of the disk's filesystem.",
        |disk| of_store(disk, |store| store.capacity_bytes),
    ),
    (
        "errors_total",
        "counter",
        "Input/output errors since start, and how often the disk was fenced off.",
        |disk| Some(of_store(disk, |store| store.disk_errors).unwrap_or(0) + disk.fenced_count),
    ),
];

/// Appends the metrics of the `disks` to `text`.
pub(super) fn render(text: &mut String, disks: &[DiskState]) {
    for (name, kind, help, value) in METRICS {
        let name = format!("sextant_chunkd_disk_{name}");
        head(text, &name, kind, help);
        for disk in disks {
            if let Some(value) = value(disk) {
                let labels = format!("{{disk=\"{}\"}}", escaped(&disk.dir.to_string_lossy()));
                line(text, &name, &labels, &value.to_string());
            }
        }
    }
}

fn takes_chunks(disk: &DiskState) -> bool {
    disk.health == DiskHealth::Serving && disk.store.as_ref().is_some_and(|store| store.writable)
}

fn of_store(disk: &DiskState, value: fn(&StoreState) -> u64) -> Option<u64> {
    disk.store.as_ref().map(value)
}

/// A label's value as Prometheus' text format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use chunkproto::DiskId;

    use super::*;

    #[test]
    fn a_fenced_disk_shows_that_it_is_down_and_no_numbers_that_nobody_knows() {
        let disk = DiskState {
            disk_id: DiskId::generate(),
            dir: "/srv/a \"b\"".into(),
            health: DiskHealth::Fenced("gone".into()),
            device: None,
            fenced_count: 1,
            store: None,
        };
        let mut text = String::new();
        render(&mut text, &[disk]);
        let up = "\nsextant_chunkd_disk_up{disk=\"/srv/a \\\"b\\\"\"} 0\n";
        assert!(text.contains(up), "{text}");
        assert!(text.contains("errors_total{disk=\"/srv/a \\\"b\\\"\"} 1\n"));
        assert!(!text.contains("capacity_bytes{"));
    }
}
