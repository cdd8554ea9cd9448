//! What was measured, as a table for people and as JSON for programs: medians, from the least to the most, and ratios against the
//! targets. A ratio is the median of the rounds' own ratios, because within a round both met the same machine.

use serde_json::{Value, json};

use super::alone::Alone;
use super::targets::{TARGETS, Target};
use super::workload::{Sample, Workload};
use super::{Samples, Settings, Subject, name};
use crate::machine::Machine;
use crate::peers::{Found, Peer};

/// All that there is to report.
pub(crate) struct Report<'a> {
    pub(crate) machine: Machine,
    pub(crate) settings: &'a Settings,
    pub(crate) found: &'a [Found],
    pub(crate) samples: &'a Samples,
    /// What needs no peer; empty where it was not asked for.
    pub(crate) alone: &'a [Alone],
}

/// Numbers from several rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// Our figure against one peer's.
pub(crate) struct Ratio {
    ours: Peer,
    against: Peer,
    spread: Spread,
    target: Option<f64>,
    /// The same ratio of the bare relay, where it says what the kernel alone takes.
    floor: Option<f64>,
    /// The kernel's part of our figure against all of theirs: what would be left of the ratio if Causeway itself took nothing.
    kernel: Option<f64>,
    /// Rounds in which both have a figure.
    rounds: usize,
    /// Whether we have one in all rounds.
    whole: bool,
}

impl Spread {
    /// None of no numbers.
    pub(crate) fn of(mut numbers: Vec<f64>) -> Option<Self> {
        numbers.sort_by(f64::total_cmp);
        let (min, max) = (*numbers.first()?, *numbers.last()?);
        let middle = numbers.len() / 2;
        let median = match numbers.len() % 2 {
            1 => numbers[middle],
            _ => f64::midpoint(numbers[middle - 1], numbers[middle]),
        };
        Some(Self { median, min, max })
    }
}

impl Ratio {
    /// A failure of ours in any round holds no target.
    fn held(&self) -> Option<bool> {
        self.target
            .map(|target| self.whole && self.spread.median <= target)
    }
}

impl Ratio {
    /// Missed, and the bare relay's own ratio is above the target too. That does not show that nobody could hold it.
    fn floor_misses(&self) -> bool {
        let floor = self.floor.zip(self.target);
        self.held() == Some(false) && floor.is_some_and(|(floor, target)| floor > target)
    }
}

impl Report<'_> {
    /// Those that were measured with a workload, in the order of the table.
    pub(crate) fn subjects(&self, workload: Workload) -> Vec<Subject> {
        let proxies = self.found.iter().map(|found| Some(found.peer));
        let measured = |subject: &Subject| self.samples.contains_key(&(workload, *subject));
        proxies.chain([None]).filter(measured).collect()
    }

    /// One subject's figures of a workload.
    pub(crate) fn figures(&self, workload: Workload, subject: Subject) -> Option<Spread> {
        let samples = self.of(workload, subject);
        Spread::of(
            samples
                .filter_map(|sample| workload.figure(sample))
                .collect(),
        )
    }

    /// Where, when and what, in one line.
    pub(crate) fn setting(&self) -> String {
        let machine = &self.machine;
        format!(
            "{}; {}, Linux {}, {}; commit {}; {} rounds of {:?}",
            machine.date,
            machine.processor,
            machine.kernel,
            machine.congestion_control,
            machine.commit,
            self.settings.rounds,
            self.settings.time,
        )
    }

    /// The table.
    pub(crate) fn print(&self) {
        println!("\n{}\n{}", self.setting(), self.machine.command);
        for workload in &self.settings.workloads {
            println!("\n{}", workload.title());
            let ratios = self.ratios(*workload);
            for subject in self.subjects(*workload) {
                let figures = self.figures(*workload, subject);
                let figures = figures.map_or_else(
                    || " ".repeat(27),
                    |spread| {
                        format!(
                            "{:8.1}  {:7.1} - {:7.1}",
                            spread.median, spread.min, spread.max
                        )
                    },
                );
                let speeds = self
                    .of(*workload, subject)
                    .map(|sample| workload.speed(sample));
                let price = self.of(*workload, subject);
                let price = price.filter_map(|sample| workload.price(sample));
                let (names, prices): (Vec<&str>, Vec<f64>) = price.unzip();
                let price = match (names.first(), Spread::of(prices)) {
                    (Some(name), Some(price)) => format!("{name} {:7.1}", price.median),
                    _ => String::new(),
                };
                let (speeds, units): (Vec<f64>, Vec<&str>) = speeds.unzip();
                let speed = match (Spread::of(speeds), units.first()) {
                    (Some(speed), Some(unit)) => format!("{:9.1} {unit}", speed.median),
                    _ => "no figure".to_owned(),
                };
                let against: String = ratios
                    .iter()
                    .filter(|ratio| subject == Some(ratio.against))
                    .map(say)
                    .collect();
                println!(
                    "  {:<16} {figures}  {price:<14}  {speed:<17}{against}",
                    name(subject)
                );
            }
        }
        if !self.alone.is_empty() {
            println!("\nCauseway alone");
        }
        for alone in self.alone {
            println!("{}", alone.say());
        }
        let judged: Vec<Ratio> = self
            .settings
            .workloads
            .iter()
            .flat_map(|workload| self.ratios(*workload))
            .filter(|ratio| ratio.held().is_some())
            .collect();
        let good = judged
            .iter()
            .filter(|ratio| ratio.held() == Some(true))
            .count();
        let good = good + self.alone.iter().filter(|alone| alone.held()).count();
        let floor_misses = judged.iter().filter(|ratio| ratio.floor_misses()).count();
        let meant = |target: &&Target| self.settings.workloads.contains(&target.workload);
        let all = TARGETS.iter().filter(meant).count();
        println!("\n{good} of {} targets held", all + self.alone.len());
        if floor_misses > 0 {
            println!("{floor_misses} of those missed are missed by the bare relay too");
        }
        if judged.len() < all {
            println!(
                "{} could not be judged: no figure of ours or of the peer that they mean",
                all - judged.len()
            );
        }
    }

    /// Measurements of Causeway that failed.
    pub(crate) fn failed(&self) -> usize {
        let ours = (self.samples.iter())
            .filter(|((_, subject), _)| subject.is_some_and(Peer::is_ours))
            .flat_map(|(_, samples)| samples);
        ours.filter(|sample| sample.is_none()).count()
    }

    /// All of it, every sample too.
    pub(crate) fn json(&self) -> Value {
        let proxies: Vec<Value> = self
            .found
            .iter()
            .map(|found| {
                let binary = found.binary.display().to_string();
                json!({"name": found.peer.name(), "version": found.version, "binary": binary})
            })
            .collect();
        let workloads: Vec<Value> = self
            .settings
            .workloads
            .iter()
            .map(|workload| self.workload(*workload))
            .collect();
        json!({
            "machine": self.machine.json(),
            "rounds": self.settings.rounds,
            "seconds": self.settings.time.as_secs_f64(),
            "proxies": proxies,
            "workloads": workloads,
            "alone": self.alone.iter().map(Alone::json).collect::<Vec<Value>>(),
        })
    }

    fn workload(&self, workload: Workload) -> Value {
        let subjects = self.subjects(workload).into_iter().map(|subject| {
            let samples: Vec<Value> = self
                .samples
                .get(&(workload, subject))
                .into_iter()
                .flatten()
                .map(|sample| {
                    sample
                        .as_ref()
                        .map_or(Value::Null, |sample| json_of(workload, sample))
                })
                .collect();
            json!({
                "name": name(subject),
                "figure": self.figures(workload, subject).map(json_of_spread),
                "samples": samples,
            })
        });
        let ratios = self.ratios(workload);
        let ratios = ratios.iter().map(|ratio| {
            json!({
                "of": ratio.ours.name(),
                "against": ratio.against.name(),
                "ratio": json_of_spread(ratio.spread),
                "atMost": ratio.target,
                "held": ratio.held(),
                "floor": ratio.floor,
                "kernel": ratio.kernel,
                "rounds": ratio.rounds,
            })
        });
        json!({
            "name": workload.name(),
            "title": workload.title(),
            "subjects": subjects.collect::<Vec<Value>>(),
            "ratios": ratios.collect::<Vec<Value>>(),
        })
    }

    /// Each of ours against each other peer's, with the target where there is one for the two.
    fn ratios(&self, workload: Workload) -> Vec<Ratio> {
        let peers = || self.subjects(workload).into_iter().flatten();
        peers()
            .filter(|ours| ours.is_ours())
            .flat_map(|ours| {
                // Of the two of ours, who polls is compared with who does not.
                let others =
                    peers().filter(move |peer| *peer != ours && *peer != Peer::CausewayPolling);
                others.filter_map(move |against| self.of_two(workload, ours, against))
            })
            .collect()
    }

    fn of_two(&self, workload: Workload, ours: Peer, against: Peer) -> Option<Ratio> {
        let figure = |sample: &Sample| workload.figure(sample);
        let kernel = |sample: &Sample| workload.kernel(sample);
        let median = |ratios| Spread::of(ratios).map(|spread| spread.median);
        let floor = workload.has_floor();
        let ratios = self.ratio(workload, ours, against, figure);
        Some(Ratio {
            ours,
            against,
            rounds: ratios.len(),
            whole: self.of(workload, Some(ours)).count() == self.settings.rounds,
            spread: Spread::of(ratios)?,
            floor: floor
                .then(|| median(self.ratio(workload, Peer::Floor, against, figure)))
                .flatten(),
            kernel: floor
                .then(|| median(self.ratio(workload, ours, against, kernel)))
                .flatten(),
            target: TARGETS
                .iter()
                .filter(|target| target.workload == workload && target.ours == ours)
                .find(|target| self.judges(target, against))
                .map(|target| target.at_most),
        })
    }

    /// Whether this is the peer that the target means: the one of its peers that did best here.
    fn judges(&self, target: &Target, against: Peer) -> bool {
        let measured = target.against.iter().filter_map(|peer| {
            let figures = self.figures(target.workload, Some(*peer))?;
            Some((figures.median, *peer))
        });
        let best = measured.min_by(|a, b| a.0.total_cmp(&b.0));
        best.is_some_and(|(_, peer)| peer == against)
    }

    /// Of each round in which both have a figure: what is counted of the one against the figure of the other.
    fn ratio(
        &self,
        workload: Workload,
        whose: Peer,
        against: Peer,
        counted: impl Fn(&Sample) -> Option<f64>,
    ) -> Vec<f64> {
        let of = |peer| {
            self.samples
                .get(&(workload, Some(peer)))
                .into_iter()
                .flatten()
        };
        let rounds = of(whose).zip(of(against));
        let ratios = rounds.filter_map(|(ours, theirs)| {
            Some(counted(ours.as_ref()?)? / workload.figure(theirs.as_ref()?)?)
        });
        ratios.collect()
    }

    fn of(&self, workload: Workload, subject: Subject) -> impl Iterator<Item = &Sample> {
        let samples = self.samples.get(&(workload, subject));
        samples.into_iter().flatten().flatten()
    }
}

fn say(ratio: &Ratio) -> String {
    let spread = ratio.spread;
    let verdict = match (ratio.target, ratio.held()) {
        (Some(target), Some(true)) => format!("  target {target:.2}: held"),
        (Some(target), _) if !ratio.whole => format!("  target {target:.2}: MISSED by a failure"),
        (Some(target), _) => {
            let floor = ratio.floor.filter(|_| ratio.floor_misses());
            let floor = floor.map(|floor| format!(", as by the floor with {floor:.2}x"));
            let kernel = ratio.kernel;
            let kernel = kernel.map(|kernel| format!("; the kernel's part alone is {kernel:.2}x"));
            let (floor, kernel) = (floor.unwrap_or_default(), kernel.unwrap_or_default());
            format!("  target {target:.2}: MISSED{floor}{kernel}")
        }
        _ => String::new(),
    };
    format!(
        "  {} {:.2}x ({:.2} - {:.2}) in {} rounds{verdict}",
        ratio.ours.name(),
        spread.median,
        spread.min,
        spread.max,
        ratio.rounds
    )
}

fn json_of(workload: Workload, sample: &Sample) -> Value {
    let cpu = sample.cpu;
    let mut json = sample.outcome.json();
    json["figure"] = json!(workload.figure(sample));
    json["proxyUserSeconds"] = json!(cpu.map(|cpu| cpu.user.as_secs_f64()));
    json["proxySystemSeconds"] = json!(cpu.map(|cpu| cpu.system.as_secs_f64()));
    json["loadCores"] = json!(sample.load);
    json["besideGigabitsPerSecond"] = json!(sample.beside);
    json
}

fn json_of_spread(spread: Spread) -> Value {
    json!({"median": spread.median, "min": spread.min, "max": spread.max})
}

#[cfg(test)]
mod tests;
