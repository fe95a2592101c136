//! A PostgreSQL for the tests: started by `scripts/postgres`, shared while a test uses it, and
//! removed with the last one.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;

/// A running server of its own port and folder.
pub(crate) struct Server {
    folder: TempDir,
    url: String,
    schemas: AtomicU32,
}

impl Server {
    /// Returns the server that tests share.
    pub(crate) fn shared() -> Arc<Server> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Server::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// Starts a server for one test alone, which may stop it.
    pub(crate) fn start() -> Server {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut server = Server { folder, url: String::new(), schemas: AtomicU32::new(0) };
        server.url = server.script("start");
        server
    }

    /// Returns the URL of an empty schema.
    pub(crate) async fn schema(&self) -> String {
        let name = format!("schema{}", self.schemas.fetch_add(1, Ordering::Relaxed));
        self.execute(&self.url, &format!("CREATE SCHEMA {name}")).await;
        format!("{}?options=-c%20search_path%3D{name}", self.url)
    }

    /// Runs statements beside the engine.
    pub(crate) async fn execute(&self, url: &str, sql: &str) {
        let client = connect(url).await;
        client.batch_execute(sql).await.expect("the statement is well formed");
    }

    /// Writes a file beside the server's data that only the server may read; returns its path.
    pub(crate) fn keep(&self, name: &str, text: &str) -> PathBuf {
        let data = self.folder.path().join("data");
        let path = data.join(name);
        std::fs::write(&path, text).expect("the folder takes files");
        let owner = std::fs::metadata(&data).expect("is there");
        chown(&path, Some(owner.uid()), Some(owner.gid())).expect("the tests started the server");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("is ours");
        path
    }

    pub(crate) fn port(&self) -> u16 {
        let port = std::fs::read_to_string(self.folder.path().join("port")).expect("was written");
        port.trim().parse().expect("is a number")
    }

    /// Stops the server as a power cut would.
    pub(crate) fn halt(&self) {
        self.script("halt");
    }

    /// Starts it again on the same port.
    pub(crate) fn start_again(&self) {
        self.script("start");
    }

    fn script(&self, verb: &str) -> String {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scripts/postgres");
        let mut command = Command::new(script);
        command.arg(verb).arg(self.folder.path());
        if verb == "start" {
            // Should this process be killed, the server goes all the same.
            command.arg(std::process::id().to_string());
        }
        let output = command.output().expect("the script is there");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "scripts/postgres {verb}: {said}");
        String::from_utf8(output.stdout).expect("prints text").trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.script("stop");
    }
}

/// Connects without an engine.
pub(crate) async fn connect(url: &str) -> tokio_postgres::Client {
    let connected = tokio_postgres::connect(url, tokio_postgres::NoTls).await;
    let (client, connection) = connected.expect("the server runs");
    tokio::spawn(connection);
    client
}
