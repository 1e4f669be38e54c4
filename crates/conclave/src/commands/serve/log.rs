//! The log of a node: lines on stderr, for people or as JSON, and which of them there are.

use std::sync::{Arc, Mutex, PoisonError};

use conclave_server::{LogControl, LogFormat, NodeConfig};
use tracing_subscriber::{
    EnvFilter, Layer as _, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use super::catching_up::Screen;
use crate::errors::{CommandError, EXIT_USAGE};

/// Log filter for the libraries below. The engine under the replica warns on every heartbeat that
/// fails, for as long as a peer is away, and logs an error for each request while it stops. The
/// node itself logs what matters of that, once. A filter that names the engine wins.
const ENGINE_LOG: &str = "openraft=off,h2=error,hyper=error";

/// The log of this process, whose filter may change while the node runs. Cheap to clone.
#[derive(Clone)]
pub(super) struct Log {
    handle: reload::Handle<EnvFilter, tracing_subscriber::Registry>,
    /// The filter in use, as it was given.
    filter: Arc<Mutex<String>>,
}

impl Log {
    /// Starts the log of this process, on stderr.
    pub(super) fn start(screen: &Screen, config: &NodeConfig) -> Result<Self, CommandError> {
        let (filter, handle) = reload::Layer::new(log_filter(&config.log)?);
        let colours = screen.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let screen = screen.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || screen.clone());
        let lines = match config.log_format {
            LogFormat::Text => {
                let lines = lines.with_ansi(colours).with_target(false);
                lines.compact().boxed()
            }
            // The fields of a line stand beside its message, so that programs find them by name.
            LogFormat::Json => lines.with_ansi(false).json().flatten_event(true).boxed(),
        };
        let subscriber = tracing_subscriber::registry().with(filter).with(lines);
        // A subscriber is set already only if one process runs two nodes.
        let _ = subscriber.try_init();
        Ok(Self {
            handle,
            filter: Arc::new(Mutex::new(config.log.clone())),
        })
    }

    /// Uses this filter from now on.
    pub(super) fn change(&self, filter: &str) -> Result<(), CommandError> {
        let new = log_filter(filter)?;
        // This fails only if the subscriber is gone, and then nothing is logged.
        let _ = self.handle.reload(new);
        let mut kept = self.filter.lock().unwrap_or_else(PoisonError::into_inner);
        filter.clone_into(&mut kept);
        Ok(())
    }
}

impl LogControl for Log {
    fn filter(&self) -> String {
        let kept = self.filter.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }

    fn set_filter(&self, filter: &str) -> Result<(), String> {
        self.change(filter).map_err(|error| error.to_string())
    }
}

fn log_filter(filter: &str) -> Result<EnvFilter, CommandError> {
    let with_engine = format!("{ENGINE_LOG},{filter}");
    EnvFilter::try_new(with_engine).map_err(|error| {
        let sentence = format!("`{filter}` is not a log filter: {error}");
        CommandError::new(
            EXIT_USAGE,
            sentence,
            "use a level such as info, or target=level",
        )
    })
}
