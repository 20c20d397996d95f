//! [`Journal`]: what is told of a call, step by step; [`Figures`]: what is told of many.

use std::cell::RefCell;
use std::fmt::Display;
use std::time::Duration;

use crate::cli::call::wire::Answer;
use crate::cli::say;

/// What is told of one call.
#[derive(Debug, Default)]
pub(super) struct Journal {
    is_silent: bool,
    steps: RefCell<Vec<(&'static str, Duration)>>,
}

impl Journal {
    /// Of one call among many: its steps are counted and not told.
    pub(super) fn silent() -> Self {
        Self { is_silent: true, ..Self::default() }
    }

    /// A step, with its time and its outcome.
    pub(super) fn step(&self, name: &'static str, answer: &Answer, outcome: impl Display) {
        self.steps.borrow_mut().push((name, answer.took));
        let (status, took) = (answer.status, millis(answer.took));
        self.tell(format!("{name:<7} {status} {took:>11}  {outcome}"));
    }

    /// Something else.
    pub(super) fn tell(&self, text: impl Display) {
        if !self.is_silent {
            say(text);
        }
    }

    /// Names and times of the steps.
    pub(super) fn into_steps(self) -> Vec<(&'static str, Duration)> {
        self.steps.into_inner()
    }
}

/// A time as it is told.
pub(super) fn millis(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

/// How long the steps of many calls took.
#[derive(Debug, Default)]
pub(super) struct Figures(Vec<(&'static str, Vec<Duration>)>);

impl Figures {
    /// Counts a step.
    pub(super) fn add(&mut self, name: &'static str, took: Duration) {
        if let Some((_, times)) = self.0.iter_mut().find(|(own, _)| *own == name) {
            times.push(took);
        } else {
            self.0.push((name, vec![took]));
        }
    }

    /// A line a step: the half of them took no longer, 99 of 100, all.
    pub(super) fn table(self) -> String {
        let line = |name: &str, [p50, p99, max]: [String; 3]| {
            format!("{name:<7} {p50:>11} {p99:>11} {max:>11}")
        };
        let mut lines = vec![line("", ["p50", "p99", "max"].map(str::to_owned))];
        for (name, mut times) in self.0 {
            times.sort_unstable();
            lines.push(line(name, [50, 99, 100].map(|percent| millis(within(&times, percent)))));
        }
        lines.join("\n")
    }
}

/// The time that so many of a hundred took at most.
fn within(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_times_that_were_taken() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        let of = |percent| within(&times, percent).as_millis();
        assert_eq!((of(50), of(99), of(100)), (100, 198, 200));
        assert_eq!(within(&times[..1], 50).as_millis(), 1);
        assert_eq!(within(&[], 99), Duration::ZERO);
        let mut figures = Figures::default();
        for (name, millis) in [("voice", 3), ("whole", 9), ("voice", 1)] {
            figures.add(name, Duration::from_millis(millis));
        }
        let table = figures.table();
        let lines: Vec<Vec<_>> =
            table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["p50", "p99", "max"]);
        assert_eq!(lines[1], ["voice", "1.0", "ms", "3.0", "ms", "3.0", "ms"]);
        assert_eq!(lines.len(), 3);
    }
}
