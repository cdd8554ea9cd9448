//! The load of one region: new connections at a steady pace whatever becomes of those before, and a few that are held
//! open. It must not try anything twice: what fails is reported as it failed.

use std::time::Duration;

use sidecar::{Client, Connection, Error};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

/// Between two new connections: 40 in a second.
const PACE: Duration = Duration::from_millis(25);

/// Connections that are held open.
const HELD: usize = 8;

/// Between two requests on a held connection.
const PAUSE: Duration = Duration::from_millis(200);

/// What became of one request.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The clients' region, an index.
    pub(super) region: usize,
    /// When its connection was begun or, on an open one, the request was sent.
    pub(super) begun: Instant,
    /// When it was over.
    pub(super) ended: Instant,
    /// Whether it is a connection's first.
    pub(super) first: bool,
    /// Who answered, `region/zone/name`, or why nobody did.
    pub(super) result: Result<String, Error>,
}

/// The running clients of a region; dropped, they stop, and what they were waiting for is counted nowhere.
pub(super) struct Clients {
    _tasks: JoinSet<()>,
}

impl Clients {
    pub(super) fn start(region: usize, client: Client, report: UnboundedSender<Outcome>) -> Self {
        let mut tasks = JoinSet::new();
        let reporter = Reporter { region, report };
        for _ in 0..HELD {
            tasks.spawn(hold(client.clone(), reporter.clone()));
        }
        tasks.spawn(arrive(client, reporter));
        Self { _tasks: tasks }
    }
}

#[derive(Clone)]
struct Reporter {
    region: usize,
    report: UnboundedSender<Outcome>,
}

impl Reporter {
    fn say(&self, begun: Instant, first: bool, result: Result<String, Error>) {
        let outcome = Outcome {
            region: self.region,
            begun,
            ended: Instant::now(),
            first,
            result,
        };
        // Nobody counts any more when the demo ends.
        let _ = self.report.send(outcome);
    }
}

/// A new connection with each tick; ticks that were missed are made up for, so that slow answers do not thin the load.
async fn arrive(client: Client, reporter: Reporter) {
    let mut pace = interval(PACE);
    // Ends with this task.
    let mut asking = JoinSet::new();
    loop {
        tokio::select! {
            _ = pace.tick() => {
                let (client, reporter) = (client.clone(), reporter.clone());
                asking.spawn(async move {
                    let begun = Instant::now();
                    if let Some(connection) = open(&client, &reporter, begun).await {
                        connection.close().await;
                    }
                });
            }
            Some(_) = asking.join_next() => {}
        }
    }
}

/// A connection with a request now and then; when it ends, another one.
async fn hold(client: Client, reporter: Reporter) {
    loop {
        if let Some(mut connection) = open(&client, &reporter, Instant::now()).await {
            converse(&mut connection, &reporter).await;
        } else {
            sleep(PAUSE).await;
        }
    }
}

/// Connects and makes the first request.
async fn open(client: &Client, reporter: &Reporter, begun: Instant) -> Option<Connection> {
    let asked = async {
        let mut connection = client.connect().await?;
        let answer = connection.ask().await?;
        Ok((connection, answer.who))
    };
    match asked.await {
        Ok((connection, who)) => {
            reporter.say(begun, true, Ok(who));
            Some(connection)
        }
        Err(error) => {
            reporter.say(begun, true, Err(error));
            None
        }
    }
}

/// Requests until the connection ends. Ended between two requests, nothing was lost.
async fn converse(connection: &mut Connection, reporter: &Reporter) {
    loop {
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = connection.closed() => return,
        }
        let begun = Instant::now();
        let result = connection.ask().await.map(|answer| answer.who);
        let lost = result.is_err();
        reporter.say(begun, false, result);
        if lost {
            return;
        }
    }
}
