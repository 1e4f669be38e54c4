//! A demonstration that runs: its nodes, its load, and the panel if there is one.
//!
//! Always true: nothing of it is left when it is dropped; what a person at the panel does is never
//! undone by the timeline.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    control::{self, Control, Desk},
    load::{self, Load},
    options::{Happening, Options, Show},
    proof,
    pulse::Pulse,
    report::{Course, Failover, Report},
    stage::{self, Act, ActError, Process, Stage, State},
    timeline::{Step, timeline},
};
use crate::{
    error::BenchError,
    limits,
    scratch::{self, random_word},
};

/// Longest time until the cluster serves, at the start and with all nodes at the end.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Interval at which due steps are looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Messages per second at first, if people watch for the time of the demonstration.
const RATE: u64 = 300;
/// The same, if it goes on for as long as they like.
const RATE_HELD: u64 = 100;
/// Name of the administrator that the person at the panel is.
const PERSON: &str = "you";

/// A demonstration that runs.
pub(super) struct Run {
    stage: Arc<Stage>,
    pulse: Arc<Pulse>,
    pub(super) load: Load,
    panel: Option<Panel>,
    /// What follows the nodes; it ends with this.
    watching: JoinSet<()>,
}

/// The panel, while it can be used.
struct Panel {
    desk: Arc<Desk>,
    url: String,
    is_held: bool,
    _control: Control,
}

impl Run {
    pub(super) async fn begin(options: &Options) -> Result<Self, BenchError> {
        let (program, nodes) = (&options.program, options.nodes);
        let Show::Panel { held } = options.show else {
            let cluster = scratch::cluster(program, nodes, false, &options.directory).await?;
            let load = Load::begin(&cluster, 0, Arc::default()).await?;
            let pulse = load.shared.pulse.clone();
            return Ok(Self {
                stage: Arc::new(Stage::new(cluster, pulse.clone(), None)),
                pulse,
                load,
                panel: None,
                watching: JoinSet::new(),
            });
        };
        let (listener, address) = control::listen().await?;
        let origin = format!("http://{address}");
        let settings = stage::settings(&origin, State::default());
        let cluster = scratch::breakable(program, nodes, settings, &options.directory).await?;
        let password = limits::administrator(&cluster, PERSON).await?;
        let rolling = Arc::default();
        let rate = if held { RATE_HELD } else { RATE };
        let load = Load::begin(&cluster, rate, Arc::clone(&rolling)).await?;
        let pulse = load.shared.pulse.clone();
        let stage = Arc::new(Stage::new(cluster, pulse.clone(), Some(origin)));
        let mut watching = load.readers();
        let watched = stage.clone();
        watching.spawn(async move { watched.watch().await });
        let desk = Arc::new(Desk {
            stage: stage.clone(),
            pulse: pulse.clone(),
            rolling,
            account: (PERSON.to_owned(), password),
            secret: random_word()?,
            opened: AtomicBool::new(false),
            taken_over: AtomicBool::new(false),
        });
        Ok(Self {
            panel: Some(Panel::open(listener, address, desk, held)),
            stage,
            pulse,
            load,
            watching,
        })
    }

    /// Returns the address of the page with the panel, if there is one.
    pub(super) fn url(&self) -> Option<String> {
        self.panel.as_ref().map(|panel| panel.url.clone())
    }

    /// Returns whether a fault is there that was not ended.
    pub(super) fn is_broken(&self) -> bool {
        let mut states = self.stage.states().into_values();
        states.any(|state| state != State::default())
    }

    /// Ends every fault.
    pub(super) async fn heal(&self) -> Result<(), BenchError> {
        self.stage.heal().await.map_err(of_act)
    }

    /// Kills and starts nodes as the timeline says, until the end or until a person takes over;
    /// returns which node was killed when.
    pub(super) async fn disturb(
        &self,
        options: &Options,
        stop: impl Future<Output = ()>,
        tell: &mut impl FnMut(Duration, Happening),
    ) -> Result<Vec<(Instant, Failover)>, BenchError> {
        let mut stop = pin!(stop);
        let end = Duration::from_secs(options.seconds);
        let mut due: VecDeque<(Duration, Step)> = timeline(end, options.kill).into();
        let mut killed: Vec<(Instant, Failover)> = Vec::new();
        let mut told = Told::default();
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (is_open, is_held) = self.is_open();
            if self.load.elapsed() >= end && !is_held {
                return Ok(killed);
            }
            tokio::select! {
                _ = look.tick() => {}
                () = &mut stop => match is_held {
                    true => return Ok(killed),
                    false => return Err(BenchError::Stopped),
                }
            }
            self.pulse.tick();
            let (at, acked) = (self.load.elapsed(), self.load.acked());
            let left = (!is_held).then(|| end.saturating_sub(at));
            tell(at, Happening::Progress { acked, left });
            if is_open {
                told.tell(self, tell);
            }
            if self.is_taken_over() {
                due.clear();
            }
            let step = due.pop_front_if(|(at, _)| *at <= self.load.elapsed());
            if let Some((_, step)) = step {
                self.step(step, &mut killed, tell).await?;
            }
        }
    }

    /// Does a step of the timeline.
    async fn step(
        &self,
        step: Step,
        killed: &mut Vec<(Instant, Failover)>,
        tell: &mut impl FnMut(Duration, Happening),
    ) -> Result<(), BenchError> {
        let stage = &self.stage;
        match step {
            Step::Kill => {
                let leader = stage.cluster.wait_for_leader(READY_LIMIT).await?;
                stage.has_seen_leader(leader);
                let at = Instant::now();
                match stage.act(leader, Act::Kill).await {
                    // A person at the panel was faster.
                    Err(ActError::Already(..)) => return Ok(()),
                    killed => killed.map_err(of_act)?,
                }
                let failover = Failover {
                    killed: leader,
                    leader_before: leader,
                    stall_ms: 0,
                };
                killed.push((at, failover));
                tell(self.load.elapsed(), Happening::Killed { leader });
            }
            Step::Restart => {
                let nodes = killed.iter().map(|(_, failover)| failover.killed).collect();
                tell(self.load.elapsed(), Happening::Restarting { nodes });
                let dead = stage.states().into_iter();
                let dead = dead.filter(|(_, state)| state.process == Process::Killed);
                let started = dead.map(|(node, _)| stage.act(node, Act::Start));
                for started in join_all(started).await {
                    match started {
                        Ok(()) | Err(ActError::Already(..)) => {}
                        Err(error) => return Err(of_act(error)),
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns whether a person has opened the panel, and whether the demonstration goes on until
    /// it is stopped.
    fn is_open(&self) -> (bool, bool) {
        let Some(panel) = &self.panel else {
            return (false, false);
        };
        let is_open = panel.desk.opened.load(Ordering::Relaxed);
        (is_open, is_open || panel.is_held)
    }

    fn is_taken_over(&self) -> bool {
        let taken = |panel: &Panel| panel.desk.taken_over.load(Ordering::Relaxed);
        self.panel.as_ref().is_some_and(taken)
    }

    /// Stops the load, reads every node and checks the record.
    pub(super) async fn end(
        self,
        options: &Options,
        failovers: Vec<(Instant, Failover)>,
    ) -> Result<Report, BenchError> {
        let Self {
            stage,
            pulse,
            load,
            panel,
            mut watching,
        } = self;
        drop(panel);
        watching.shutdown().await;
        let slow = load.stop().await;
        pulse.tick();
        let (first, beats) = pulse.beats(0, usize::MAX);
        let course = Course {
            lasted_ms: pulse.now_ms(),
            first,
            beats,
            pauses: pulse.pauses(),
            story: stage.story.after(0, usize::MAX),
        };
        let cluster = &stage.cluster;
        let proof = proof::read(cluster, load, READY_LIMIT)
            .await
            .map_err(|error| BenchError::Unproven(Box::new(error)))?;
        let failovers = failovers
            .into_iter()
            .map(|(at, failover)| Failover {
                stall_ms: load::stall_ms(&slow, at),
                ..failover
            })
            .collect();
        let seconds = match options.show {
            Show::Alone => options.seconds,
            Show::Panel { .. } => course.lasted_ms / 1000,
        };
        let report = Report::of(proof, failovers, options.nodes, seconds, course);
        cluster.stop_all().await?;
        Ok(report)
    }
}

impl Panel {
    fn open(listener: TcpListener, address: SocketAddr, desk: Arc<Desk>, is_held: bool) -> Self {
        let first = desk.stage.cluster.endpoint(1);
        let secret = &desk.secret;
        Self {
            url: format!("http://{first}/cluster#demo={secret}"),
            is_held,
            _control: control::serve(listener, address, desk.clone()),
            desk,
        }
    }
}

/// What people at the terminal know of what people at the panel do.
#[derive(Default)]
struct Told {
    opened: bool,
    taken_over: bool,
    story: u64,
}

impl Told {
    fn tell(&mut self, run: &Run, tell: &mut impl FnMut(Duration, Happening)) {
        let at = run.load.elapsed();
        if !self.opened {
            self.opened = true;
            tell(at, Happening::Opened);
        }
        let is_taken_over = run.is_taken_over();
        if is_taken_over && !self.taken_over {
            self.taken_over = true;
            tell(at, Happening::TakenOver);
        }
        for entry in run.stage.story.after(self.story, usize::MAX) {
            self.story = entry.number;
            if is_taken_over {
                tell(at, Happening::Told(entry.text));
            }
        }
    }
}

fn of_act(error: ActError) -> BenchError {
    match error {
        ActError::Cluster(error) => error.into(),
        ActError::NoSuchNode(_) | ActError::Already(..) => BenchError::Failed(error.to_string()),
    }
}
