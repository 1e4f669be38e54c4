//! One attack beside an honest client, and what that client noticed.

use std::{fmt, sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use crate::{Attack, Bounds, Honest, Noticed, Tally, Target};

/// The outcome of one attack.
#[derive(Debug)]
pub struct Report {
    /// Name of the attack.
    pub attack: &'static str,
    /// What the attack did.
    pub tally: Tally,
    /// What the honest client noticed before.
    pub before: Noticed,
    /// What it noticed meanwhile.
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
    let tally = on.spawn((attack.run)(target.clone(), bounds)).await?;
    let took = began.elapsed();
    let during = honest.take().await;
    let elections = honest.term(target).await.saturating_sub(term);
    honest.stop().await;
    Ok(Report {
        attack: attack.name,
        tally,
        before,
        during,
        elections,
        took,
    })
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        writeln!(out, "{}: {:.1} s, {}", self.attack, seconds, self.tally)?;
        let (before, during) = (&self.before, &self.during);
        line(out, "log-in", &before.log_in_us, &during.log_in_us)?;
        line(out, "send", &before.send_us, &during.send_us)?;
        line(out, "stream", &before.stream_us, &during.stream_us)?;
        let (failed, elections) = (during.failed, self.elections);
        writeln!(out, "  failures {failed}, elections {elections}")?;
        for failure in &during.failures {
            writeln!(out, "    {failure}")?;
        }
        Ok(())
    }
}

fn line(
    out: &mut fmt::Formatter<'_>,
    what: &str,
    before: &Histogram<u64>,
    during: &Histogram<u64>,
) -> fmt::Result {
    let ms = |histogram: &Histogram<u64>, quantile| {
        let us = histogram.value_at_quantile(quantile);
        Duration::from_micros(us).as_secs_f64() * 1000.0
    };
    writeln!(
        out,
        "  {what:<7} p50 {:>8.1} -> {:>8.1} ms   p99 {:>8.1} -> {:>8.1} ms   ({} -> {})",
        ms(before, 0.5),
        ms(during, 0.5),
        ms(before, 0.99),
        ms(during, 0.99),
        before.len(),
        during.len()
    )
}
