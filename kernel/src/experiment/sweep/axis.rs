//! Axes of a sweep: settings and the values that `--vary` gives them.

use std::{collections::BTreeSet, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::visible::Visible;

/// Most variants of one sweep, as a table of the report has a line for each of them.
const VARIANTS_MAX: usize = 10_000;

/// Most bytes of the values of one axis.
const VALUES_BYTES_MAX: usize = 1 << 20;

/// A setting of the scenario and the values that it takes, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// Dotted key of the setting, as `--set` takes it.
    pub key: String,
    /// Values of the setting, as `--set` takes them; at least one, none twice.
    pub values: Vec<String>,
}

/// Reason why a text is no axis, or why axes form no grid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AxisError {
    /// The key is missing, or there are no values.
    #[error("`--vary` needs a key and its values, such as --vary client.retry.max_attempts=1,2,3")]
    NoValues,
    /// There is nothing between two commas, or before the first or after the last one.
    #[error(
        "`{key}` has an empty value in `{values}`; give one between commas, or leave the comma out",
        key = .key.visible(), values = .values.visible()
    )]
    EmptyValue {
        /// Key of the axis.
        key: String,
        /// Values as they were given.
        values: String,
    },
    /// A value occurs twice, so two variants would be the same.
    #[error("`{key}` has the value {value} twice; one of them is enough", key = .key.visible(), value = .value.visible())]
    ValueTwice {
        /// Key of the axis.
        key: String,
        /// Value that occurs twice.
        value: String,
    },
    /// Two axes have the same key, so one of them would override the other.
    #[error("`{key}` is varied twice; put all its values behind one --vary {key}=", key = .key.visible())]
    KeyTwice {
        /// Key of both axes.
        key: String,
    },
    /// The combinations of all values are more than 10,000.
    #[error("the values make more than {VARIANTS_MAX} variants together; vary less at once")]
    TooMany,
    /// A bracket, brace or quote has no counterpart.
    #[error("`{key}` has a bracket or quote in `{values}` that is not closed", key = .key.visible(), values = .values.visible())]
    Unclosed {
        /// Key of the axis.
        key: String,
        /// Values as they were given.
        values: String,
    },
}

impl FromStr for Axis {
    type Err = AxisError;

    fn from_str(text: &str) -> Result<Self, AxisError> {
        let (key, given) = text.split_once('=').ok_or(AxisError::NoValues)?;
        let key = key.trim().to_owned();
        let given = given.trim().to_owned();
        if key.is_empty() || given.is_empty() {
            return Err(AxisError::NoValues);
        }
        // What is longer than the settings of all variants together cannot be right.
        if given.len() > VALUES_BYTES_MAX {
            return Err(AxisError::TooMany);
        }
        let Some(values) = split(&given) else { return Err(AxisError::Unclosed { key, values: given }) };
        if values.iter().any(String::is_empty) {
            return Err(AxisError::EmptyValue { key, values: given });
        }
        if let Some(value) = repeated(&values) {
            let value = value.clone();
            return Err(AxisError::ValueTwice { key, value });
        }
        Ok(Self { key, values })
    }
}

/// Cuts `text` at the commas that are not within brackets or quotes. `None` if one of those is left open.
fn split(text: &str) -> Option<Vec<String>> {
    let mut values = Vec::new();
    let mut value = String::new();
    let mut depth = 0_usize;
    let mut quote = None;
    for char in text.chars() {
        match (quote, char) {
            (Some(open), _) if open == char => quote = None,
            // Within quotes nothing else counts: neither brackets nor commas.
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(char),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.checked_sub(1)?,
            (None, ',') if depth == 0 => {
                values.push(std::mem::take(&mut value).trim().to_owned());
                continue;
            }
            (None, _) => {}
        }
        value.push(char);
    }
    values.push(value.trim().to_owned());
    (depth == 0 && quote.is_none()).then_some(values)
}

/// Returns the first of `items` that equals an earlier one; `None` if all are different.
fn repeated<T: Ord + Copy>(items: impl IntoIterator<Item = T>) -> Option<T> {
    let mut seen = BTreeSet::new();
    items.into_iter().find(|item| !seen.insert(*item))
}

/// Returns the settings of every variant, each a `key=value` as `--set` takes it: the axes' values in every combination, the
/// last axis changing fastest. Without axes there is one variant without settings.
///
/// # Errors
///
/// Returns an error if a key is on two axes, or there are more than 10,000 variants.
///
/// ```
/// use kernel::experiment::sweep::{Axis, grid};
///
/// let attempts: Axis = "client.retry.max_attempts=1,3".parse()?;
/// let timeout: Axis = "client.attempt_timeout=300ms,1s".parse()?;
/// let variants = grid(&[attempts, timeout])?;
/// assert_eq!(variants.len(), 4);
/// assert_eq!(variants[1], ["client.retry.max_attempts=1", "client.attempt_timeout=1s"]);
/// # Ok::<(), kernel::experiment::sweep::AxisError>(())
/// ```
pub fn grid(axes: &[Axis]) -> Result<Vec<Vec<String>>, AxisError> {
    if let Some(key) = repeated(axes.iter().map(|axis| &axis.key)) {
        return Err(AxisError::KeyTwice { key: key.clone() });
    }
    // The product may overflow long before the variants fill the memory.
    let count = axes.iter().try_fold(1_usize, |count, axis| count.checked_mul(axis.values.len()));
    if count.is_none_or(|count| count > VARIANTS_MAX) {
        return Err(AxisError::TooMany);
    }
    Ok(axes.iter().fold(vec![Vec::new()], |variants, axis| extended(&variants, axis)))
}

/// Returns every variant with every value of `axis` added.
fn extended(variants: &[Vec<String>], axis: &Axis) -> Vec<Vec<String>> {
    let mut all = Vec::with_capacity(variants.len() * axis.values.len());
    for variant in variants {
        for value in &axis.values {
            let mut settings = variant.clone();
            settings.push(format!("{}={value}", axis.key));
            all.push(settings);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(text: &str) -> Axis {
        text.parse().unwrap()
    }

    fn message(text: &str) -> String {
        text.parse::<Axis>().unwrap_err().to_string()
    }

    #[test]
    fn values_are_separated_by_commas_outside_of_brackets_and_quotes() {
        assert_eq!(axis("client.hedging=off, 50ms").values, ["off", "50ms"]);
        let lists = axis(r#"workload.sizes=["8x8","9x9"],["16x16"]"#);
        assert_eq!(lists.values, [r#"["8x8","9x9"]"#, r#"["16x16"]"#]);
        assert_eq!(axis(r#"question="one, or two?",'what [now'"#).values, [r#""one, or two?""#, "'what [now'"]);
    }

    #[test]
    fn a_grid_has_every_combination_and_the_last_axis_changes_fastest() {
        let variants = grid(&[axis("a=1,2"), axis("b=x,y")]).unwrap();
        assert_eq!(variants, [["a=1", "b=x"], ["a=1", "b=y"], ["a=2", "b=x"], ["a=2", "b=y"]]);
        assert_eq!(grid(&[]).unwrap(), [Vec::<String>::new()]);
    }

    #[test]
    fn an_invalid_axis_is_rejected_with_its_key_and_the_remedy() {
        for text in ["load.rate", "load.rate=", "=1,2", ""] {
            assert!(message(text).contains("needs a key and its values"), "{text}");
        }
        assert!(message("a=1,,2").starts_with("`a` has an empty value in `1,,2`"));
        assert!(message("a=1,2,1").starts_with("`a` has the value 1 twice"));
        assert!(message("a=[1,2").ends_with("that is not closed"));
        assert!(message("a=1],2").ends_with("that is not closed"));
        let twice = grid(&[axis("a=1"), axis("a=2")]).unwrap_err().to_string();
        assert!(twice.starts_with("`a` is varied twice"));
        let many: Vec<_> = ["a", "b", "c", "d", "e"].map(|key| axis(&format!("{key}=1,2,3,4,5,6,7"))).into();
        assert_eq!(grid(&many), Err(AxisError::TooMany));
    }
}
