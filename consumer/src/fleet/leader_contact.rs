//! Whether the leader answers.

use std::time::{Duration, Instant};

/// A standby takes over within five seconds of the leader's death; this is a little longer.
const AWAY_AFTER: Duration = Duration::from_secs(8);

/// What is known of the leader over one connection.
#[derive(Debug)]
pub(super) struct LeaderContact {
    state: LeaderState,
    silent_since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaderState {
    Unknown,
    Answers,
    Away,
}

impl LeaderContact {
    pub(super) fn new(now: Instant) -> LeaderContact {
        LeaderContact { state: LeaderState::Unknown, silent_since: now }
    }

    /// Notes that it has answered, or has not; returns the state if that is another now.
    pub(super) fn note(&mut self, has_answered: bool, now: Instant) -> Option<LeaderState> {
        let state = if has_answered {
            self.silent_since = now;
            LeaderState::Answers
        } else if now.duration_since(self.silent_since) >= AWAY_AFTER {
            LeaderState::Away
        } else {
            self.state
        };
        (std::mem::replace(&mut self.state, state) != state).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_is_away_once_it_has_been_silent_for_longer_than_a_takeover_takes_and_each_change_is_told_once() {
        let began = Instant::now();
        let mut contact = LeaderContact::new(began);
        let changes =
            [(1, false), (9, false), (12, false), (13, true), (14, true), (20, false), (21, true), (30, false), (40, true)];
        let told = changes.map(|(second, has_answered)| contact.note(has_answered, began + Duration::from_secs(second)));
        let (answers, away) = (Some(LeaderState::Answers), Some(LeaderState::Away));
        assert_eq!(told, [None, away, None, answers, None, None, None, away, answers]);
    }
}
