//! The faults of a run, and the steps at which they happen.

use super::Books;
use std::fmt;

/// A fault that the simulation injects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Refused,
    AnswerLost,
    Late,
    CrashBefore,
    CrashAfter,
    CrashAskingBefore,
    CrashAskingAfter,
    SendRefused,
    SendUnclearSent,
    SendUnclearUnsent,
    VerifyUncounted,
    VerifyCounted,
    Burst,
    Switches,
    TimeLimit,
}

impl Fault {
    pub(crate) const ALL: [(Self, &'static str); 15] = [
        (Self::Refused, "step refused, not done"),
        (Self::AnswerLost, "step done, response lost"),
        (Self::Late, "step reported as failed, done later"),
        (Self::CrashBefore, "crash before a step"),
        (Self::CrashAfter, "crash after a step"),
        (
            Self::CrashAskingBefore,
            "crash during a call to the provider, before it acts",
        ),
        (
            Self::CrashAskingAfter,
            "crash during a call to the provider, after it acted",
        ),
        (Self::SendRefused, "provider refuses a send"),
        (Self::SendUnclearSent, "provider unclear, text sent"),
        (Self::SendUnclearUnsent, "provider unclear, no text sent"),
        (Self::VerifyUncounted, "provider fails a guess, not counted"),
        (Self::VerifyCounted, "provider fails a guess, counted"),
        (Self::Burst, "store down for several steps"),
        (Self::Switches, "switches unreadable"),
        (Self::TimeLimit, "killed at the time limit"),
    ];
}

/// The number of faults of each kind.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts([u64; Fault::ALL.len()]);

impl Counts {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    pub(crate) fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0
            .iter_mut()
            .zip(other.0)
            .for_each(|(mine, more)| *mine += more);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Fault::ALL
            .iter()
            .try_for_each(|(fault, name)| writeln!(f, "  {:>9}  {name}", self.of(*fault)))
    }
}

/// The steps at which faults happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    Never,
    OnlyTheProvider,
    ByChance,
    /// The fault happens at one step of one operation.
    At {
        operation: usize,
        step: u32,
        fault: Fault,
    },
}

impl Books {
    /// Counts a step of the current operation. Returns the fault of the step, if it has one.
    pub(crate) fn step(&mut self, name: &'static str, writes: bool) -> Option<Fault> {
        self.steps += 1;
        let current = self.current;
        let step = self.operations[current].steps;
        self.operations[current].steps += 1;
        let fault = match self.plan {
            Plan::Never | Plan::OnlyTheProvider => None,
            Plan::At {
                operation,
                step: at,
                fault,
            } => (operation == current && step == at).then_some(fault),
            Plan::ByChance => self.chance(name, writes),
        };
        // Without its response, a read has no effect. A lost or late read is the same as a refused one.
        let fault = match fault {
            Some(Fault::AnswerLost | Fault::Late) if !writes => Some(Fault::Refused),
            fault => fault,
        };
        if let Some(fault) = fault {
            self.counts.add(fault);
            self.operations[current].went_wrong = Some(name);
        }
        self.trace(|_| {
            format!(
                "#{current} {step}: {name}{}",
                fault.map(|it| format!(" ** {it:?}")).unwrap_or_default()
            )
        });
        fault
    }

    pub(super) fn chance(&mut self, name: &'static str, writes: bool) -> Option<Fault> {
        if self.down_for > 0 {
            self.down_for -= 1;
            return Some(Fault::Refused);
        }
        let roll = self.rng.u32(0..1000);
        if name == "switches" && roll < 40 {
            return Some(Fault::Switches);
        }
        // Writes after the provider's response are late more often, so that other operations come between.
        if matches!(name, "settle" | "note_answer") && roll >= 920 {
            return Some(Fault::Late);
        }
        match roll {
            0..9 => Some(Fault::Refused),
            9..24 if writes => Some(Fault::AnswerLost),
            24..39 if writes => Some(Fault::Late),
            39..48 => Some(Fault::CrashBefore),
            48..58 => Some(Fault::CrashAfter),
            58..60 => {
                self.down_for = self.rng.u32(2..9);
                Some(Fault::Burst)
            }
            _ => None,
        }
    }

    /// As [`Self::step`], for a call to the provider.
    pub(crate) fn provider_step(&mut self, sends: bool) -> Option<Fault> {
        self.steps += 1;
        let current = self.current;
        let step = self.operations[current].steps;
        self.operations[current].steps += 1;
        let fault = match self.plan {
            Plan::Never => None,
            Plan::At {
                operation,
                step: at,
                fault,
            } => (operation == current && step == at).then_some(match fault {
                Fault::CrashBefore => Fault::CrashAskingBefore,
                Fault::CrashAfter => Fault::CrashAskingAfter,
                Fault::AnswerLost if sends => Fault::SendUnclearSent,
                Fault::AnswerLost => Fault::VerifyCounted,
                Fault::Late if sends => Fault::SendUnclearUnsent,
                _ if sends => Fault::SendRefused,
                _ => Fault::VerifyUncounted,
            }),
            Plan::OnlyTheProvider | Plan::ByChance => match (self.rng.u32(0..100), sends) {
                (0..7, true) => Some(Fault::SendRefused),
                (7..14, true) => Some(Fault::SendUnclearSent),
                (14..19, true) => Some(Fault::SendUnclearUnsent),
                (0..6, false) => Some(Fault::VerifyUncounted),
                (6..12, false) => Some(Fault::VerifyCounted),
                (19..23, _) if self.plan == Plan::ByChance => Some(Fault::CrashAskingBefore),
                (23..28, _) if self.plan == Plan::ByChance => Some(Fault::CrashAskingAfter),
                _ => None,
            },
        };
        if let Some(fault) = fault {
            self.counts.add(fault);
        }
        let name = if sends {
            "provider.send"
        } else {
            "provider.verify"
        };
        self.trace(|_| {
            format!(
                "#{current} {step}: {name}{}",
                fault.map(|it| format!(" ** {it:?}")).unwrap_or_default()
            )
        });
        fault
    }
}
