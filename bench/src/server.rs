//! A release server as a child, on ports of its own, until it is dropped.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;
use store::{Clock as _, SystemClock};
use wire::sigv4::SecretKey;

use crate::cpu::{Memory, Whose};
use crate::http::{Client, Connection};
use crate::world::{Api, Request};

const ACCESS_KEY_ID: &str = "AKIDBENCHROOT";
const SECRET: &str = "the+bench/root+secret";
const REGION: &str = "us-east-1";
/// The variable of `--listen`.
const LISTEN: &str = "CAMPANILE_LISTEN";
/// Counts what the server ran again.
const CONFLICTS: &str = "campanile_transaction_conflicts_total";

/// Which binary is measured.
#[derive(Args, Clone)]
pub(crate) struct Binary {
    /// The server's release binary; by default the one beside this program.
    #[arg(long)]
    binary: Option<PathBuf>,
}

impl Binary {
    /// Returns the program.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        let beside =
            || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name("campanile"));
        Ok(self.binary.clone().map_or_else(beside, Ok)?)
    }
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    command: Command,
    pub(crate) address: SocketAddr,
    /// Where it speaks TLS, if it does.
    pub(crate) tls: Option<SocketAddr>,
    /// Where it tells its figures.
    admin: SocketAddr,
}

impl Server {
    /// Starts a server and waits for its ready line.
    pub(crate) fn start(binary: &Binary, flags: &[String]) -> Result<Server> {
        let path = binary.path()?;
        let mut command = Command::new(&path);
        command.args(["serve", "--admin-listen", "127.0.0.1:0", "--log-level", "warn"]);
        command.args(flags);
        command.env("CAMPANILE_ACCESS_KEY_ID", ACCESS_KEY_ID);
        command.env("CAMPANILE_SECRET_ACCESS_KEY", SECRET);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.env(LISTEN, "127.0.0.1:0");
        let child = command.spawn().with_context(|| path.display().to_string())?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Server { child, command, address: nowhere, tls: None, admin: nowhere };
        server.await_ready()?;
        Ok(server)
    }

    fn await_ready(&mut self) -> Result<()> {
        let stdout = self.child.stdout.take().context("the output is piped")?;
        let mut line = String::new();
        BufReader::new(stdout.take(1_024)).read_line(&mut line)?;
        let address = |name| line.split_whitespace().find_map(|word| word.strip_prefix(name));
        let (Some(api), Some(admin)) = (address("api=http://"), address("admin=http://")) else {
            bail!("the server did not become ready")
        };
        (self.address, self.admin) = (api.parse()?, admin.parse()?);
        self.tls = address("tls=https://").map(str::parse).transpose()?;
        Ok(())
    }

    /// Kills the server.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts a killed server at the address that it had.
    pub(crate) fn revive(&mut self) -> Result<()> {
        self.command.env(LISTEN, self.address.to_string());
        self.child = self.command.spawn()?;
        self.await_ready()
    }

    /// Returns the process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the process, for its CPU time.
    pub(crate) fn process(&self) -> Whose {
        Whose::Process(self.child.id())
    }

    /// Lets it come to its own end.
    pub(crate) fn end(mut self) -> Result<()> {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status()?;
        ensure!(asked.success() && self.child.wait()?.success(), "the server did not end well");
        Ok(())
    }

    /// Returns the memory of the process without pages of files.
    pub(crate) fn memory_mib(&self) -> u64 {
        Memory::of(self.id()).anonymous_kib / 1_024
    }

    /// Asks how often a handler was run again.
    pub(crate) async fn conflicts(&self) -> Result<u64> {
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\n\r\n", self.admin);
        let answer = Connection::open(self.admin).await?.call(request.as_bytes()).await?;
        let text = String::from_utf8(answer.body)?;
        let figure = text.lines().find_map(|line| line.strip_prefix(CONFLICTS));
        Ok(figure.with_context(|| format!("no {CONFLICTS}"))?.trim().parse()?)
    }

    /// Returns what signs for this server.
    pub(crate) fn client(&self) -> Client {
        Client {
            address: self.address,
            region: REGION,
            access_key_id: ACCESS_KEY_ID,
            secret: SecretKey::new(SECRET),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What the run wrote goes with its folder, so nothing is lost by an end like this.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// A server at the end of a connection.
pub(crate) struct Remote {
    client: Client,
    connection: Connection,
}

impl Remote {
    pub(crate) async fn open(server: &Server) -> Result<Remote> {
        let connection = Connection::open(server.address).await?;
        Ok(Remote { client: server.client(), connection })
    }
}

impl Api for Remote {
    async fn call(&mut self, request: &Request) -> Result<Value> {
        let bytes = self.client.signed(request, SystemClock.now_ms());
        let answer = self.connection.call(&bytes).await?;
        if answer.status >= 300 {
            let text = String::from_utf8_lossy(&answer.body);
            bail!("{} {} answered {} {text}", request.method, request.path, answer.status);
        }
        if answer.body.is_empty() {
            Ok(Value::Null)
        } else {
            Ok(serde_json::from_slice(&answer.body)?)
        }
    }
}
