//! Fencing tokens: how a store tells the present holder of a job's lease from an earlier one that
//! was paused and does not know yet (I8).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What stands between the two fences of a refusal.
const CAME_AFTER: &str = " came after ";
/// Longest name of a job.
const NAME_MAX_BYTES: usize = 32;

/// The name of a background job, which is also the name of its lease.
///
/// Invariant: 1 to 32 lower-case letters and hyphens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobName(String);

/// Proof of a lease: stores refuse one whose token is smaller than the largest they have seen for
/// the job. As text: `gc=7`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// The job.
    pub job: JobName,
    /// Grows with every grant of the job's lease.
    pub token: u64,
}

/// Text that is no fence, or no name of a job.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a fence: expected a job's name and a token, as in gc=7")]
pub struct ParseFenceError(String);

impl ParseFenceError {
    fn of(text: &str) -> Self {
        Self(text.chars().take(64).collect())
    }
}

impl JobName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Fence {
    /// What a store says that has seen the token `newest` of the job before.
    #[must_use]
    pub fn refusal(&self, newest: u64) -> String {
        let newest = Self {
            job: self.job.clone(),
            token: newest,
        };
        format!("{self}{CAME_AFTER}{newest}")
    }

    /// The newest fence in what [`refusal`](Self::refusal) wrote.
    #[must_use]
    pub fn newest_in(refusal: &str) -> Option<Self> {
        let (_, newest) = refusal.rsplit_once(CAME_AFTER)?;
        newest.parse().ok()
    }
}

impl FromStr for JobName {
    type Err = ParseFenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_ours = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
        let fits = (1..=NAME_MAX_BYTES).contains(&text.len());
        if fits && text.bytes().all(is_ours) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseFenceError::of(text))
        }
    }
}

impl TryFrom<String> for JobName {
    type Error = ParseFenceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<JobName> for String {
    fn from(name: JobName) -> Self {
        name.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Fence {
    type Err = ParseFenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |text: &str| {
            let (job, token) = text.split_once('=')?;
            let digits = token.bytes().all(|byte| byte.is_ascii_digit());
            Some(Self {
                job: job.parse().ok()?,
                token: token.parse().ok().filter(|_| digits)?,
            })
        };
        parse(text).ok_or_else(|| ParseFenceError::of(text))
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.job, self.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_survives_text_and_json() {
        let fence: Fence = "upload-expiry=18446744073709551615".parse().unwrap();
        assert_eq!(fence.token, u64::MAX);
        assert_eq!(fence.to_string().parse::<Fence>().unwrap(), fence);
        let json = serde_json::to_string(&fence).unwrap();
        assert_eq!(serde_json::from_str::<Fence>(&json).unwrap(), fence);
    }

    #[test]
    fn a_refusal_tells_the_newest_fence() {
        let late: Fence = "gc=7".parse().unwrap();
        let newest = Fence::newest_in(&late.refusal(9)).unwrap();
        assert_eq!((newest.job, newest.token), (late.job, 9));
        assert_eq!(Fence::newest_in("gc=7 came late"), None);
        assert_eq!(Fence::newest_in(""), None);
    }

    #[test]
    fn what_is_no_fence_is_refused() {
        let long = format!("{}=1", "x".repeat(NAME_MAX_BYTES + 1));
        for text in [
            "", "gc", "gc=", "=1", "gc=-1", "gc=+1", "gc=x", "GC=1", "g c=1", &long,
        ] {
            assert!(text.parse::<Fence>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Fence>(r#"{"job":"a b","token":1}"#).is_err());
    }
}
