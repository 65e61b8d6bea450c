//! What an acknowledgement promises.

use std::fmt;
use std::str::FromStr;

/// When a write is acknowledged. As text: `power-safe` or `page-cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When it is on the disk: it survives a power cut.
    #[default]
    PowerSafe,
    /// When the kernel has it: it survives the end of the process, but not of the machine. For
    /// caches and tests.
    PageCache,
}

impl Durability {
    /// Whether the disk is waited for.
    #[must_use]
    pub fn syncs(self) -> bool {
        self == Self::PowerSafe
    }

    /// What an operator should hear at the start, if anything.
    #[must_use]
    pub fn warning(self) -> Option<&'static str> {
        (!self.syncs()).then_some(
            "DURABILITY IS page-cache: A POWER CUT OR A CRASH OF THE MACHINE LOSES ACKNOWLEDGED DATA; \
             for caches and tests only, start with --durability power-safe for anything else",
        )
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PowerSafe => "power-safe",
            Self::PageCache => "page-cache",
        })
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "power-safe" => Ok(Self::PowerSafe),
            "page-cache" => Ok(Self::PageCache),
            _ => Err("expected power-safe or page-cache".into()),
        }
    }
}
