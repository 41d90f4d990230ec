//! What can be done with a job as a whole.

use maud::{Markup, html};
use rollcall_shared::message::{JobStatus, State};

/// The buttons that fit its state.
pub(super) fn buttons(status: &JobStatus) -> Markup {
    let (job, state) = (&status.job, status.state);
    html! {
        @if !state.is_final() {
            div.actions {
                @if state == State::Paused {
                    form method="post" action={ "/jobs/" (job) "/resume" } { button.primary type="submit" { "Resume" } }
                } @else {
                    form method="post" action={ "/jobs/" (job) "/pause" } { button type="submit" { "Pause" } }
                }
                details.confirm #cancel {
                    summary.button { "Cancel…" }
                    form method="post" action={ "/jobs/" (job) "/cancel" } {
                        p { "This ends the job now. Companies that wait are not scored; outcomes stay." }
                        button.danger type="submit" { "Cancel the job" }
                    }
                }
            }
        }
    }
}
