//! One attack beside an honest client, and what that client noticed.

use std::{fmt, sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use crate::{Attack, Bounds, Honest, Noticed, Tally, Target};

/// The first part of an attack, which is told apart; half of the attack if that is shorter.
pub const ONSET: Duration = Duration::from_secs(5);

/// The outcome of one attack.
#[derive(Debug)]
pub struct Report {
    /// Name of the attack.
    pub attack: &'static str,
    /// What the attack did.
    pub tally: Tally,
    /// What the honest client noticed before.
    pub before: Noticed,
    /// What it noticed in the first [`ONSET`] of the attack, while the attacker uses up what it may
    /// do at once.
    pub onset: Noticed,
    /// What it noticed in the rest of the attack.
    pub during: Noticed,
    /// By how much the term grew: at least one for each election.
    pub elections: u64,
    /// How long the attack took.
    pub took: Duration,
}

/// Measures an honest client for `calm`, then attacks. The attack runs where `on` says, the honest
/// client where this is called.
///
/// # Errors
/// If the honest client cannot work before the attack.
pub async fn run(
    attack: &Attack,
    target: &Arc<Target>,
    bounds: Bounds,
    calm: Duration,
    on: &Handle,
) -> anyhow::Result<Report> {
    let honest = Honest::start(target).await?;
    sleep(calm).await;
    let term = honest.term(target).await;
    let before = honest.take().await;
    let began = Instant::now();
    let attacking = on.spawn((attack.run)(target.clone(), bounds));
    sleep(ONSET.min(bounds.duration / 2)).await;
    let onset = honest.take().await;
    let tally = attacking.await?;
    let took = began.elapsed();
    let during = honest.take().await;
    let elections = honest.term(target).await.saturating_sub(term);
    honest.stop().await;
    Ok(Report {
        attack: attack.name,
        tally,
        before,
        onset,
        during,
        elections,
        took,
    })
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        writeln!(out, "{}: {:.1} s, {}", self.attack, seconds, self.tally)?;
        writeln!(
            out,
            "  before, in the first seconds, and in the rest of the attack:"
        )?;
        let parts = [&self.before, &self.onset, &self.during];
        line(out, "log-in", parts.map(|part| &part.log_in_us))?;
        line(out, "send", parts.map(|part| &part.send_us))?;
        line(out, "stream", parts.map(|part| &part.stream_us))?;
        let (failed, elections) = (self.onset.failed + self.during.failed, self.elections);
        writeln!(out, "  failures {failed}, elections {elections}")?;
        for failure in self.onset.failures.iter().chain(&self.during.failures) {
            writeln!(out, "    {failure}")?;
        }
        Ok(())
    }
}

fn line(out: &mut fmt::Formatter<'_>, what: &str, parts: [&Histogram<u64>; 3]) -> fmt::Result {
    let ms = |quantile| {
        let ms = parts.map(|part| {
            let us = part.value_at_quantile(quantile);
            Duration::from_micros(us).as_secs_f64() * 1000.0
        });
        format!("{:>7.1} {:>7.1} {:>7.1} ms", ms[0], ms[1], ms[2])
    };
    let [before, onset, during] = parts.map(Histogram::len);
    let (median, p99) = (ms(0.5), ms(0.99));
    writeln!(
        out,
        "  {what:<7} p50 {median}   p99 {p99}   ({before}, {onset}, {during})"
    )
}
