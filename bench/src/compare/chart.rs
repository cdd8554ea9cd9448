//! One workload as a picture: a bar for each proxy's median, a line from its least to its most. It must show nothing that the
//! table does not have.

use std::fmt::Write;

use super::name;
use super::report::Report;
use super::workload::Workload;

const WIDTH: f64 = 760.0;
/// Where bars begin, after the names.
const LEFT: f64 = 130.0;
/// What the longest bar may take; the number stands after it.
const LONGEST: f64 = 520.0;
const ROW: f64 = 34.0;
const HEAD: f64 = 64.0;

/// The picture.
pub(crate) fn svg(report: &Report<'_>, workload: Workload) -> String {
    let bars: Vec<_> = report
        .subjects(workload)
        .into_iter()
        .filter_map(|subject| Some((subject, report.figures(workload, subject)?)))
        .collect();
    let most = bars
        .iter()
        .map(|(_, spread)| spread.max)
        .fold(0.0, f64::max);
    let scale = if most > 0.0 { LONGEST / most } else { 0.0 };
    let height = HEAD + ROW * bars.len() as f64 + 16.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"16\" font-weight=\"bold\">{}; less is better</text>\n\
         <text x=\"16\" y=\"46\" font-size=\"10\" fill=\"#57606a\">{}</text>\n",
        escaped(workload.title()),
        escaped(&report.setting())
    );
    for (row, (subject, spread)) in bars.iter().enumerate() {
        let top = HEAD + ROW * row as f64;
        let colour = match subject {
            Some(peer) if peer.is_ours() => "#0b7285",
            Some(_) => "#adb5bd",
            None => "#dee2e6",
        };
        let middle = top + 12.0;
        let (from, to) = (LEFT + spread.min * scale, LEFT + spread.max * scale);
        // Writing to a string cannot fail.
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"24\" fill=\"{colour}\"/>\n\
             <path d=\"M{from:.1} {middle}H{to:.1}M{from:.1} {}v8M{to:.1} {}v8\" stroke=\"#212529\" fill=\"none\"/>\n\
             <text x=\"{:.1}\" y=\"{}\">{:.1}</text>\n",
            LEFT - 8.0,
            top + 17.0,
            name(*subject),
            spread.median * scale,
            middle - 4.0,
            middle - 4.0,
            to + 8.0,
            top + 17.0,
            spread.median
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
