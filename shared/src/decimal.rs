//! Decimal numbers as text. JSON, CSV and Parquet write the same number in several ways: pandas writes a column of integers with a missing
//! value as `70.0`.

/// Digits of a canonical form, at most: an exponent can ask for any number of them.
const MOST_DIGITS: usize = 400;

/// The canonical form of a number that is written as in JSON: `70.0`, `7e1` and `70` become `70`, `-0.0` becomes `0`, `1.50` becomes
/// `1.5`. Two numbers are equal if and only if their canonical forms are. `None` if `text` is no JSON number, such as `007`, `+1` or `.5`,
/// or its canonical form has more than 400 digits.
pub fn canonical(text: &str) -> Option<String> {
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
    let magnitude = place_point(&digits, point)?;
    Some(if negative && magnitude != "0" { format!("-{magnitude}") } else { magnitude })
}

/// The canonical form of an integer, however it is written; `None` if `text` is none.
pub fn canonical_integer(text: &str) -> Option<String> {
    canonical(text).filter(|number| !number.contains('.'))
}

/// An exponent with or without a sign.
fn signed(exponent: &str) -> Option<i64> {
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| exponent.parse().ok()).flatten()
}

/// `digits` with the decimal point after the first `point` of them, without leading and trailing zeros that do not count.
fn place_point(digits: &str, point: i64) -> Option<String> {
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
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_json_does_not_take_for_a_number_is_none() {
        for text in ["", "-", "007", "+1", ".5", "5.", "1e", "1e+", "NaN", "1_000", "1 ", "0x1", "--1", "1.5.2", "1e5e5"] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }

    #[test]
    fn a_whole_number_has_no_fraction() {
        assert_eq!(canonical_integer("1e3").as_deref(), Some("1000"));
        for text in ["1.5", "1e-3", "x"] {
            assert_eq!(canonical_integer(text), None, "{text}");
        }
    }

    #[test]
    fn an_exponent_does_not_make_a_number_of_any_length() {
        for text in ["1e400", "1e-401", "1e9223372036854775807", "1e99999999999999999999", "1e-9223372036854775808"] {
            assert_eq!(canonical(text), None, "{text}");
        }
        assert_eq!(canonical("1e399").map(|found| found.len()), Some(400));
    }

    proptest! {
        #[test]
        fn the_plain_form_is_the_same_number_and_its_own_plain_form(number in any::<i64>(), zeros in 0..5_usize, exponent in 0..9_i32) {
            let text = format!("{number}{}e-{exponent}", if zeros > 0 { format!(".{}", "0".repeat(zeros)) } else { String::new() });
            let found = canonical(&text).unwrap();
            prop_assert_eq!(canonical(&found), Some(found.clone()));
            let expected = number as f64 / 10_f64.powi(exponent);
            prop_assert!((found.parse::<f64>().unwrap() - expected).abs() <= expected.abs() * 1e-12, "{} {}", text, found);
        }
    }
}
