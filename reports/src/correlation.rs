//! Correlations of pairs of values.

/// Returns Pearson's correlation, from -1 to 1; 0 if one of the two does not vary, or without pairs.
pub(crate) fn pearson(pairs: &[(f64, f64)]) -> f64 {
    let count = pairs.len() as f64;
    let mean = |value: fn(&(f64, f64)) -> f64| pairs.iter().map(value).sum::<f64>() / count;
    let (mean_a, mean_b) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let (mut covariance, mut variance_a, mut variance_b) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        covariance += (a - mean_a) * (b - mean_b);
        variance_a += (a - mean_a) * (a - mean_a);
        variance_b += (b - mean_b) * (b - mean_b);
    }
    if variance_a > 0.0 && variance_b > 0.0 { covariance / f64::sqrt(variance_a * variance_b) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_1_for_a_line_and_0_without_variation() {
        assert_eq!(pearson(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), 1.0);
        assert_eq!(pearson(&[(0.0, 1.0), (1.0, -1.0), (2.0, -3.0)]), -1.0);
        assert_eq!(pearson(&[(0.0, 1.0), (1.0, 0.0), (2.0, 1.0)]), 0.0);
        assert_eq!([pearson(&[(1.0, 0.0), (1.0, 5.0)]), pearson(&[])], [0.0, 0.0]);
    }
}
