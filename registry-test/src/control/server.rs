//! HTTP on a thread of its own: [`Server`].

use super::{answer::Answer, calls::Calls};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, thread, time::Duration};
use tokio::{net::TcpListener, sync::oneshot};

/// Most bytes of a request's body. Seeds are files of tests, written as text.
const LONGEST_BODY: usize = 16 << 20;

/// Time for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running server. Dropping it closes its connections and frees the port.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Listens, and answers requests, one at a time.
    pub(super) fn start(listen: SocketAddr, calls: Calls) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        drop(entered);
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("registry-test-control".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::spawn(accept(listener, Arc::new(calls)));
                    // The sender is dropped, and the runtime after it, with its tasks.
                    let _ = stopped.await;
                });
            })?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended, too.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, calls: Arc<Calls>) {
    loop {
        let Ok((connection, _client)) = listener.accept().await else {
            // The process has no free descriptors; the connections that end give some back.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let calls = Arc::clone(&calls);
        let service = service_fn(move |request| {
            let calls = Arc::clone(&calls);
            async move { Ok::<_, Infallible>(answer(request, &calls).await.into_response()) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        let served = http.serve_connection(TokioIo::new(connection), service);
        tokio::spawn(async move {
            // An error means that the client has left.
            let _ = served.await;
        });
    }
}

async fn answer(request: Request<Incoming>, calls: &Arc<Calls>) -> Answer {
    let (head, body) = request.into_parts();
    // The body of a request without the token is not read.
    let call = match calls.parse(&head.method, &head.uri) {
        Ok(call) => call,
        Err(answer) => return answer,
    };
    let too_long = || {
        Answer::refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            &format!("the body is longer than {LONGEST_BODY} bytes"),
        )
    };
    if body.size_hint().lower() > LONGEST_BODY as u64 {
        return too_long();
    }
    match Limited::new(body, LONGEST_BODY).collect().await {
        Ok(body) => {
            let (calls, body) = (Arc::clone(calls), body.to_bytes());
            let answered = tokio::spawn(async move { calls.answer(call, &body).await });
            // The fixture panics if a resource of the machine is missing, such as a port for its second host.
            answered.await.unwrap_or_else(|_panic| {
                Answer::refusal(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the call panicked; the standard error of the program has the reason",
                )
            })
        }
        Err(error) if error.is::<LengthLimitError>() => too_long(),
        Err(error) => Answer::refusal(StatusCode::BAD_REQUEST, &format!("cannot read the body: {error}")),
    }
}
