//! The functions that the fuzz targets of `.fuzz` call in this crate; see [`kernel::fuzzing`].

use kernel::fuzzing::check_message;

use crate::calibration::Calibration;

/// Reads a calibration.
///
/// # Panics
///
/// Panics if a message cannot be printed.
pub fn calibration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(mistake) = Calibration::parse("fuzz.toml", text) {
        check_message(&mistake.to_string());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_calibration_is_read_or_refused() {
        kernel::fuzzing::replay(env!("CARGO_MANIFEST_DIR"), "calibration", super::calibration);
    }
}
