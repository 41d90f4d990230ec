//! What triggers have refused.

use maud::{Markup, html};

use crate::serve::api::RefusalView;
use crate::serve::http::problem::Problem;
use crate::serve::page::figures::{count, outside, time, with_commands};

/// Refusals that are shown at once; earlier ones unfold.
const FIRST: usize = 5;

pub(super) fn show(refusals: &Result<Vec<RefusalView>, Problem>) -> Markup {
    html! {
        div #refusals data-live {
            @match refusals {
                Err(problem) => section.card { p.note.warning { "What was refused cannot be read now: " (outside(problem.detail())) } },
                Ok(refusals) if refusals.is_empty() => {}
                Ok(refusals) => {
                    @let (first, others) = refusals.split_at(refusals.len().min(FIRST));
                    section.card aria-labelledby="refusals-title" {
                        h2 #refusals-title { "Refused" }
                        p.hint { "What no job could be made of, and what could not be delivered." }
                        (list(first))
                        @if !others.is_empty() {
                            details #earlier-refusals { summary { (count(others.len() as u64)) " earlier" } (list(others)) }
                        }
                    }
                }
            }
        }
    }
}

fn list(refusals: &[RefusalView]) -> Markup {
    html! {
        ul.refusals {
            @for RefusalView { at, trigger, subject, reason } in refusals {
                li {
                    p { strong { (outside(subject)) } }
                    p { (with_commands(reason)) }
                    p.hint { (outside(trigger)) @if let Ok(at) = at.parse() { ", " (time(at)) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_shown_with_its_reason_and_without_its_markup() {
        let refusal = RefusalView {
            at: "no time".to_owned(),
            trigger: "inbox".to_owned(),
            subject: "<b>.csv".to_owned(),
            reason: "expected <i>; see `producer status`".to_owned(),
        };
        let page = show(&Ok(vec![refusal; FIRST + 2])).into_string();
        assert!(
            page.contains("&lt;b&gt;.csv") && page.contains("<code>producer status</code>") && page.contains("2 earlier"),
            "{page}"
        );
        assert!(!show(&Ok(Vec::new())).into_string().contains("Refused"));
    }
}
