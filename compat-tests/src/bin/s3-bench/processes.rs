//! What processes have used, from `/proc`.

use std::fs;
use std::time::Duration;

use crate::Failure;

/// Ticks of the CPU clock in `/proc/PID/stat`: Linux gives them to programs as hundredths of a
/// second, whatever its own clock.
const TICKS_PER_S: u64 = 100;

/// CPU time and memory of one or several processes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// CPU time, user's and system's, of all threads.
    pub(crate) cpu: Duration,
    /// The most memory that each had at any time, added up.
    pub(crate) peak_memory_kib: u64,
}

impl Usage {
    /// Of these processes.
    ///
    /// # Errors
    /// A process that is not there.
    pub(crate) fn of(pids: &[u32]) -> Result<Self, Failure> {
        let mut sum = Self::default();
        for pid in pids {
            let used = read(&pid.to_string());
            let used = used.map_err(|error| format!("process {pid}: {error}"))?;
            sum.cpu += used.cpu;
            sum.peak_memory_kib += used.peak_memory_kib;
        }
        Ok(sum)
    }

    /// Of this process.
    ///
    /// # Errors
    /// A system without `/proc`.
    pub(crate) fn of_this_process() -> Result<Self, Failure> {
        read("self")
    }

    /// What was used since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            ..self
        }
    }

    /// Two measurements' use.
    pub(crate) fn plus(self, more: Self) -> Self {
        Self {
            cpu: self.cpu + more.cpu,
            peak_memory_kib: self.peak_memory_kib.max(more.peak_memory_kib),
        }
    }
}

fn read(process: &str) -> Result<Usage, Failure> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The program's name stands in brackets and may hold anything; user and system time are the
    // 12th and 13th field behind it.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
    let mut ticks = 0;
    for field in fields.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<u64>()?;
    }
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
    Ok(Usage {
        cpu: Duration::from_millis(ticks * (1000 / TICKS_PER_S)),
        peak_memory_kib: peak.ok_or("no VmHWM in status")?.parse()?,
    })
}
