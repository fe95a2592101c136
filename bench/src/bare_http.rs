//! The least that our stack can do for a request: hyper on the runtime, the allocator and the
//! settings of the server, in a process of its own.
//!
//! It reads the body, parses it as JSON into owned texts, and answers JSON of a fixed length. It
//! takes the very requests that the server is asked, so that heads and bodies are of one size.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use crate::cpu::Whose;

/// What hyper may buffer of a head, as in the server.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// What the JSON of an answer has beside its filling.
const FRAME_BYTES: usize = r#"{"Filling":""}"#.len();

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Length of every answer.
    #[arg(long)]
    answer_bytes: usize,
}

/// The members that the bodies of the measured requests have.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "they are parsed and nothing else")]
struct Asked {
    content: Option<String>,
    r#type: Option<String>,
    persistence: Option<String>,
    client_request_token: Option<String>,
    member_arn: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<'a> {
    filling: &'a str,
}

/// Serves until the process is ended.
pub(crate) fn run(options: &Options) -> Result<()> {
    let filling = "a".repeat(options.answer_bytes.saturating_sub(FRAME_BYTES));
    let filling: &'static str = Box::leak(filling.into_boxed_str());
    Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream, filling));
        }
    })
}

async fn serve(stream: TcpStream, filling: &'static str) {
    let service = service_fn(|request| answer(request, filling));
    let serving = http1::Builder::new()
        .title_case_headers(true)
        .max_buf_size(BUFFER_BYTES_MAX)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    // A client that went away is no concern of the others.
    serving.await.unwrap_or_default();
}

async fn answer(
    request: Request<Incoming>,
    filling: &str,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let is_json = body.is_empty() || serde_json::from_slice::<Asked>(&body).is_ok();
    let text = serde_json::to_vec(&Answer { filling }).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(text)));
    if !is_json {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A running bare server, until it is dropped.
pub(crate) struct Bare {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Bare {
    /// Starts one that answers with so many bytes.
    pub(crate) fn start(answer_bytes: usize) -> Result<Bare> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bare-http", "--answer-bytes", &answer_bytes.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the bare server")?;
        let stdout = child.stdout.take().context("the output is piped")?;
        let mut bare = Bare { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        bare.address = line.trim().parse().context("the bare server did not become ready")?;
        Ok(bare)
    }

    /// Returns the process, for its CPU time.
    pub(crate) fn process(&self) -> Whose {
        Whose::Process(self.child.id())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}
