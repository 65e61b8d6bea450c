//! One server process: started with a clean environment, its output in files, ended with the test.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::environment::server_program;
use crate::wait::eventually;

/// A server has so long to start; opening its databases takes well under a second.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// A server has so long to stop after SIGTERM: its own drain takes at most 30 s.
const STOP_DEADLINE: Duration = Duration::from_secs(120);
/// How much of the log a failed test shows.
const LOG_TAIL_LINES: usize = 60;

/// A running server. Killed on drop; then, if a test is failing, the end of its log is shown.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    name: String,
    announced: PathBuf,
    log: PathBuf,
}

impl ServerProcess {
    /// Starts `program` of this workspace. `name` names its files in `log_dir`: `NAME.out` holds
    /// what this run says, `NAME.log` the log of all runs.
    ///
    /// # Panics
    /// When the program is not built or cannot be started.
    #[must_use]
    pub fn start<A: AsRef<OsStr>>(
        program: &str,
        name: &str,
        log_dir: &Path,
        arguments: &[A],
        settings: &[(&str, &str)],
    ) -> Self {
        let announced = log_dir.join(format!("{name}.out"));
        let log = log_dir.join(format!("{name}.log"));
        let output = File::create(&announced).expect("the log directory can be written");
        let errors = OpenOptions::new().create(true).append(true).open(&log);
        let child = Command::new(server_program(program))
            .args(arguments)
            .env_clear()
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors.expect("the log directory can be written"))
            .spawn()
            .unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
        Self {
            child,
            name: name.to_owned(),
            announced,
            log,
        }
    }

    /// The line of its output that begins with `start`, without that; waits for it.
    ///
    /// # Panics
    /// When the process ends, or the line does not come in time.
    pub async fn ready_line(&mut self, start: &str) -> String {
        let what = format!("'{start}…' from {}", self.name);
        eventually(&what, START_DEADLINE, async || {
            let output = self.output();
            let complete = output.rsplit_once('\n').map_or("", |(lines, _)| lines);
            let line = complete.lines().find_map(|line| line.strip_prefix(start));
            if line.is_none() {
                let ended = self.child.try_wait().expect("a child can be waited for");
                assert!(ended.is_none(), "{} ended: {ended:?}", self.name);
            }
            line.map(str::to_owned)
        })
        .await
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What this run has written to its standard output.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read_to_string(&self.announced).unwrap_or_default()
    }

    /// Everything it has logged, in all runs.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends it SIGHUP.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// SIGTERM, then waits for the end, which must be a clean one.
    ///
    /// # Panics
    /// When it does not stop in time, or with an error.
    pub async fn terminate(mut self) {
        self.signal(Signal::TERM);
        let status = self.end().await;
        assert!(
            status.success(),
            "{} ended with {status} after SIGTERM",
            self.name
        );
    }

    /// SIGKILL, then waits for the end.
    pub async fn kill(mut self) {
        self.signal(Signal::KILL);
        self.end().await;
    }

    /// SIGSTOP: it stands still until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits for a process that refuses to start; returns what it says about that.
    ///
    /// # Panics
    /// When it starts after all, or ends as if all were well.
    pub async fn refusal(mut self) -> String {
        let what = format!("the end of {}", self.name);
        let status = eventually(&what, START_DEADLINE, async || {
            let output = self.output();
            assert!(!output.contains(" is ready at "), "it started: {output}");
            self.child.try_wait().expect("a child can be waited for")
        });
        let status = status.await;
        assert!(!status.success(), "it ended well: {}", self.log());
        self.log()
    }

    async fn end(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        eventually(&what, STOP_DEADLINE, async || {
            self.child.try_wait().expect("a child can be waited for")
        })
        .await
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.expect("a child has a positive process id");
        kill_process(pid, signal).expect("a child that was not waited for takes signals");
    }

    #[expect(clippy::print_stderr, reason = "a failing test shows the server's log")]
    fn show_log(&self) {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
        eprintln!("--- log of {} ---\n{}", self.name, tail.join("\n"));
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Both fail only for a process that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.show_log();
        }
    }
}
