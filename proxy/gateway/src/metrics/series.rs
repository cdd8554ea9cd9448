//! Metrics made of figures that are counted elsewhere. They must not keep anything.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};
use prometheus::{CounterVec, GaugeVec, Opts, Registry};
use proxy::{BOUNDS, Latencies};

/// A counter's series: the values of its labels, and what was counted.
///
/// # Errors
/// When the name is taken, which is a defect.
pub(crate) fn counter<const N: usize>(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str; N],
    series: impl IntoIterator<Item = ([String; N], f64)>,
) -> prometheus::Result<()> {
    let counter = CounterVec::new(Opts::new(name, help), labels)?;
    for (values, count) in series {
        counter.get_metric_with_label_values(&values)?.inc_by(count);
    }
    registry.register(Box::new(counter))
}

/// A gauge's series.
///
/// # Errors
/// When the name is taken, which is a defect.
pub(crate) fn gauge<const N: usize>(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str; N],
    series: impl IntoIterator<Item = ([String; N], f64)>,
) -> prometheus::Result<()> {
    let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
    for (values, value) in series {
        gauge.get_metric_with_label_values(&values)?.set(value);
    }
    registry.register(Box::new(gauge))
}

/// A histogram of latencies, in seconds.
///
/// # Errors
/// When the name is taken, which is a defect.
pub(super) fn latencies(
    registry: &Registry,
    name: &str,
    help: &str,
    counted: Latencies,
) -> prometheus::Result<()> {
    let description = Desc::new(name.to_owned(), help.to_owned(), Vec::new(), [].into())?;
    registry.register(Box::new(Counted {
        description,
        counted,
    }))
}

/// A histogram that was counted elsewhere: the crate's own can only observe one value after the other.
struct Counted {
    description: Desc,
    counted: Latencies,
}

impl Collector for Counted {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut upto = 0;
        let buckets = BOUNDS
            .iter()
            .zip(self.counted.counts)
            .map(|(bound, count)| {
                upto += count;
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(seconds(*bound));
                bucket.set_cumulative_count(upto);
                bucket
            });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(self.counted.counts.iter().sum());
        histogram.set_sample_sum(seconds(self.counted.micros));
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        let mut family = MetricFamily::default();
        family.set_name(self.description.fq_name.clone());
        family.set_help(self.description.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
