//! Numbers as text. JSON, CSV and Parquet write the same number in several ways: a column of integers in which one is missing
//! comes out of pandas as `70.0`.

/// The most digits of a number in its plain form: an exponent can ask for any number of them.
const MOST_DIGITS: usize = 400;

/// The plain form of a number that is written as in JSON: `70.0`, `7e1` and `70` are `70`, `-0.0` is `0`, `1.50` is `1.5`.
/// Two numbers are equal where their plain forms are. Nothing where `text` is no such number, such as `007`, `+1` or `.5`, or
/// where its plain form has more than 400 digits.
pub fn plain(text: &str) -> Option<String> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, signed(exponent)?),
        None => (text, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (mantissa, ""),
    };
    let is_padded = whole.len() > 1 && whole.starts_with('0');
    if whole.is_empty() || is_padded || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let point = i64::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let plain = place(&digits, point)?;
    Some(if negative && plain != "0" { format!("-{plain}") } else { plain })
}

/// The plain form of a whole number, however it is written; nothing where `text` is none.
pub fn whole(text: &str) -> Option<String> {
    plain(text).filter(|number| !number.contains('.'))
}

/// An exponent with or without a sign.
fn signed(exponent: &str) -> Option<i64> {
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| exponent.parse().ok()).flatten()
}

/// `digits` with the decimal point behind the first `point` of them, without zeros that say nothing.
fn place(digits: &str, point: i64) -> Option<String> {
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    let point = point.checked_sub(i64::try_from(digits.len() - significant.len()).ok()?)?;
    let significant = significant.trim_end_matches('0');
    let length = significant.len();
    let zeros =
        |count: i64| usize::try_from(count).ok().filter(|&count| count + length <= MOST_DIGITS).map(|count| "0".repeat(count));
    match usize::try_from(point) {
        Ok(point) if (1..length).contains(&point) => Some(format!("{}.{}", &significant[..point], &significant[point..])),
        Ok(point) if point >= length => Some(format!("{significant}{}", zeros(i64::try_from(point - length).ok()?)?)),
        _ => Some(format!("0.{}{significant}", zeros(point.checked_neg()?)?)),
    }
    .filter(|_| length <= MOST_DIGITS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_has_one_plain_form_however_it_is_written() {
        let cases = [
            ("70", "70"),
            ("70.0", "70"),
            ("7e1", "70"),
            ("0.7E+2", "70"),
            ("7000e-2", "70"),
            ("-0", "0"),
            ("0e999999", "0"),
            ("1.50", "1.5"),
            ("15e-3", "0.015"),
            ("-1.5e2", "-150"),
            ("123456789012345678901234567890.0", "123456789012345678901234567890"),
        ];
        for (text, expected) in cases {
            assert_eq!(plain(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_json_does_not_take_for_a_number_is_none() {
        for text in ["", "-", "007", "+1", ".5", "5.", "1e", "1e+", "NaN", "1_000", "1 ", "0x1", "--1", "1.5.2", "1e5e5"] {
            assert_eq!(plain(text), None, "{text}");
        }
    }

    #[test]
    fn a_whole_number_has_no_fraction() {
        assert_eq!(whole("1e3").as_deref(), Some("1000"));
        for text in ["1.5", "1e-3", "x"] {
            assert_eq!(whole(text), None, "{text}");
        }
    }

    #[test]
    fn an_exponent_does_not_make_a_number_of_any_length() {
        for text in ["1e400", "1e-401", "1e9223372036854775807", "1e99999999999999999999", "1e-9223372036854775808"] {
            assert_eq!(plain(text), None, "{text}");
        }
        assert_eq!(plain("1e399").map(|plain| plain.len()), Some(400));
    }

    proptest! {
        #[test]
        fn the_plain_form_is_the_same_number_and_its_own_plain_form(number in any::<i64>(), zeros in 0..5_usize, exponent in 0..9_i32) {
            let text = format!("{number}{}e-{exponent}", if zeros > 0 { format!(".{}", "0".repeat(zeros)) } else { String::new() });
            let found = plain(&text).unwrap();
            prop_assert_eq!(plain(&found), Some(found.clone()));
            let expected = number as f64 / 10_f64.powi(exponent);
            prop_assert!((found.parse::<f64>().unwrap() - expected).abs() <= expected.abs() * 1e-12, "{} {}", text, found);
        }
    }
}
