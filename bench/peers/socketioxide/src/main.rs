//! socketioxide with the events of `sockeye serve --app bench`. It listens on 127.0.0.1 at the port that the environment variable PORT
//! names; THREADS=1 makes it run on one thread, otherwise tokio has as many workers as there are processors.
//!
//! Handlers are registered in a middleware, because the first events of a client may come before the connect handler has run, and do
//! their work when they are called and not in the future that they return, because each future is a task of its own: tasks of
//! several events of a client may run in any order.
use std::convert::Infallible;
use std::future::{ready, Future, Ready};
use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use rmpv::Value;
use socketioxide::extract::{AckSender, Data, SocketRef};
use socketioxide::handler::ConnectHandler;
use socketioxide::socket::Sid;
use socketioxide::SocketIo;
use tokio::net::TcpListener;

/// Packets that may wait for a client; the default, 128, is less than a burst has.
const BUFFER: usize = 1024;

/// What is computed beside the clients: each change of the turn ends the threads of the one before.
#[derive(Default)]
struct Computing {
    turn: AtomicU64,
    done: AtomicU64,
}

impl Computing {
    fn set(self: &Arc<Self>, threads: u64) -> u64 {
        let turn = self.turn.fetch_add(1, Ordering::SeqCst) + 1;
        for _ in 0..threads.min(64) {
            let shared = self.clone();
            std::thread::spawn(move || {
                let mut sum = turn;
                while shared.turn.load(Ordering::Relaxed) == turn {
                    let mut data = vec![0u8; 4096];
                    data[0] = sum as u8;
                    for byte in std::hint::black_box(&data) {
                        sum = (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
                    }
                    std::hint::black_box(sum);
                    shared.done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        self.done.swap(0, Ordering::SeqCst)
    }
}

/// Runs a future that has nothing to wait for: without a broker, sending and joining are done at once.
fn now<F: Future>(work: F) -> F::Output {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("there was something to wait for"),
    }
}

/// Says what became of a packet. One that does not fit into a client's buffer is lost, and the load generator finds that.
fn check<E: std::fmt::Display>(result: Result<(), E>) -> Ready<()> {
    if let Err(error) = result {
        eprintln!("{error}");
    }
    ready(())
}

fn register(socket: &SocketRef, io: &SocketIo, computing: &Arc<Computing>) {
    socket.on("join", |s: SocketRef, Data(room): Data<String>, ack: AckSender| {
        s.join(room);
        check(ack.send(&()))
    });
    socket.on("leave", |s: SocketRef, Data(room): Data<String>, ack: AckSender| {
        s.leave(room);
        check(ack.send(&()))
    });
    socket.on("message", |s: SocketRef, Data(payload): Data<Value>| check(s.emit("message-back", &payload)));
    let all = io.clone();
    socket.on("direct", move |Data((room, payload)): Data<(String, Value)>| {
        // A socket is in no room of its own here.
        match room.parse::<Sid>().ok().and_then(|id| all.get_socket(id)) {
            Some(socket) => check(socket.emit("msg", &payload)),
            None => check(now(all.to(room).emit("msg", &payload))),
        }
    });
    let all = io.clone();
    socket.on("bcast", move |Data((n, payload)): Data<(u32, Value)>, ack: AckSender| {
        for _ in 0..n {
            let _ = check(now(all.to("room").emit("msg", &payload)));
        }
        check(ack.send(&()))
    });
    let shared = computing.clone();
    socket.on("compute", move |Data(threads): Data<u64>, ack: AckSender| check(ack.send(&shared.set(threads))));
    socket.on("gc", |ack: AckSender| check(ack.send(&()))); // there is no garbage
}

async fn serve(port: u16) {
    let (service, io) = SocketIo::builder().max_buffer_size(BUFFER).max_payload(1_000_000).build_svc();
    let computing = Arc::new(Computing::default());
    let all = io.clone();
    let middleware = move |socket: SocketRef| {
        register(&socket, &all, &computing);
        ready(Ok::<(), Infallible>(()))
    };
    io.ns("/", (async || {}).with(middleware));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("listen");
    loop {
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                eprintln!("accept: {error}");
                continue;
            }
        };
        let service = service.clone();
        tokio::spawn(async move {
            stream.set_nodelay(true).ok();
            // An error is the end of the connection.
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await.ok();
        });
    }
}

fn main() {
    let port = std::env::var("PORT").ok().and_then(|text| text.parse().ok()).expect("PORT must be a port");
    let mut runtime = match std::env::var("THREADS").as_deref() {
        Ok("1") => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime.enable_all().build().expect("start tokio").block_on(serve(port));
}
