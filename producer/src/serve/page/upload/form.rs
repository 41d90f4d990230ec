//! The form that sends a file.

use maud::{Markup, html};
use rollcall_shared::message::Model;

/// The values of choices, with the words for them.
const PRIORITIES: [(&str, &str); 3] = [("auto", "small jobs first"), ("normal", "normal"), ("high", "ahead of others")];
const FORMATS: [(&str, &str); 4] = [("", "by the file's name"), ("csv", "CSV"), ("jsonl", "JSON Lines"), ("parquet", "Parquet")];

/// The form, with what was filled in before.
#[derive(Debug, Default)]
pub(crate) struct UploadForm {
    fields: Vec<(String, String)>,
}

impl UploadForm {
    /// The form as it was sent. A browser does not let a page choose a file again.
    pub(super) fn filled(fields: &[(String, String)]) -> UploadForm {
        UploadForm { fields: fields.to_vec() }
    }

    /// The form. The file comes last, so that all that is said about it is known when it begins to arrive.
    pub(crate) fn show(&self, models: &[&Model]) -> Markup {
        html! {
            form.card.stack #upload method="post" action="/jobs" enctype="multipart/form-data" aria-labelledby="upload-title" {
                h2 #upload-title { "Enqueue a file" }
                label for="model" { "Model" }
                input #model name="model" value=(self.value("model")) required list="models" autocomplete="off" spellcheck="false"
                    maxlength="64" pattern="[A-Za-z0-9][A-Za-z0-9_\\-]*" title="letters, digits, - and _";
                datalist #models { @for model in models { option value=(model) {} } }
                (self.options())
                label for="file" { "File with one company a row" }
                input #file type="file" name="file" required aria-describedby="file-hint";
                p.hint #file-hint { "CSV, JSON Lines or Parquet, each also gzip or zstd." }
                div.actions {
                    button.primary type="submit" { "Enqueue" }
                    button type="submit" formaction="/check" { "Check" }
                }
                p.hint { "Check reads the whole file, lists its bad rows, and enqueues nothing." }
                div #upload-state role="status" {}
                div #upload-result {}
            }
        }
    }

    fn options(&self) -> Markup {
        html! {
            details #options open[self.has_options()] {
                summary { "Options" }
                div.stack {
                    (self.text("job", "Job name", "By default a unique one."))
                    (self.text("tolerate_failures", "Tolerated failures", "A number, or a part such as 1%. With more, the job fails."))
                    (self.flag("fail_fast", "End the job with the first failure that is too many"))
                    (self.text("deadline", "Deadline", "A span such as 2h, or a time such as 2027-01-31T06:00:00+01:00."))
                    (self.text("max_attempts", "Attempts at a company at most", "Of failures that may pass; 3 by default."))
                    (self.text("retry_delays", "Delays between attempts", "Such as 1s,10s,1m."))
                    (self.choice("priority", "Priority", &PRIORITIES))
                    (self.choice("format", "Format", &FORMATS))
                    (self.text("id_column", "Column with the company's id", "company_id by default, else the row's index."))
                    (self.text("columns", "Columns", "With commas between; all by default."))
                    (self.text("delimiter", "Character between fields", "Of CSV; detected by default. Such as ; or tab."))
                    (self.flag("allow_duplicate_ids", "Two rows may have the same id"))
                    (self.text("results_to", "Write the results to", "A URL, in which {job}, {model} and {name} are replaced."))
                }
            }
        }
    }

    fn text(&self, name: &str, label: &str, hint: &str) -> Markup {
        let hint_id = format!("{name}-hint");
        html! {
            label for=(name) { (label) }
            input id=(name) name=(name) value=(self.value(name)) autocomplete="off" spellcheck="false" aria-describedby=(hint_id);
            p.hint id=(hint_id) { (hint) }
        }
    }

    fn flag(&self, name: &str, label: &str) -> Markup {
        html! { label.flag { input type="checkbox" name=(name) value="true" checked[self.value(name) == "true"]; " " (label) } }
    }

    fn choice(&self, name: &str, label: &str, choices: &[(&str, &str)]) -> Markup {
        html! {
            label for=(name) { (label) }
            select id=(name) name=(name) {
                @for (value, words) in choices { option value=(value) selected[self.value(name) == *value] { (words) } }
            }
        }
    }

    fn value(&self, name: &str) -> &str {
        self.fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    fn has_options(&self) -> bool {
        let is_usual = |(name, value): &(String, String)| name == "model" || value.is_empty() || value == "auto";
        !self.fields.iter().all(is_usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::api::{UploadParameters, filled};

    #[test]
    fn the_form_has_the_file_last_and_what_was_filled_in_before() {
        let fields = [("model", "risk"), ("deadline", "\"><b>"), ("fail_fast", "true")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let page = UploadForm::filled(&fields).show(&[]).into_string();
        let last = page.rfind("name=").unwrap();
        assert!(page[last..].starts_with(r#"name="file""#), "{page}");
        assert!(
            page.contains(r#"value="risk""#) && page.contains("checked") && page.contains("<details id=\"options\" open>"),
            "{page}"
        );
        assert!(!page.contains("<b>"), "{page}");
        assert!(!UploadForm::default().show(&[]).into_string().contains(" open>"));
    }

    #[test]
    fn every_field_of_the_form_is_a_parameter_of_an_upload() {
        let page = UploadForm::default().show(&[]).into_string();
        let names = page.split(" name=\"").skip(1).filter_map(|rest| rest.split('"').next()).filter(|&name| name != "file");
        let fields = names.map(|name| {
            let value = match name {
                "fail_fast" | "allow_duplicate_ids" => "true",
                "model" | "job" => "m",
                "priority" => "auto",
                _ => "",
            };
            (name.to_owned(), value.to_owned())
        });
        UploadParameters::read(filled(fields.collect())).unwrap();
    }
}
