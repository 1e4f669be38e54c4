//! How figures are written: as many digits as they are worth, thousands apart.

/// Writes a figure with about three digits.
pub(crate) fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 99.95 => thousands(figure),
        size if size >= 9.995 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// Writes a figure without a fraction, its thousands apart.
pub(crate) fn thousands(figure: f64) -> String {
    let digits = format!("{:.0}", figure.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    match figure < -0.5 {
        true => format!("-{text}"),
        false => text,
    }
}

/// Writes bytes in the greatest unit of which there is at least one.
pub(crate) fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (bytes, 0);
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{} {}", short(size), UNITS[unit])
}

/// Writes microseconds as milliseconds.
pub(crate) fn ms(us: f64) -> String {
    short(us / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_about_three_digits() {
        let written = [0.5, 9.99, 12.34, 99.99, 1234.5, 1_234_567.0].map(short);
        assert_eq!(
            written,
            ["0.50", "9.99", "12.3", "100", "1 234", "1 234 567"]
        );
        assert_eq!(bytes(3.5 * 1024.0 * 1024.0), "3.50 MiB");
        assert_eq!(ms(1500.0), "1.50");
        assert_eq!(thousands(-12_345.0), "-12 345");
    }
}
