use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::address::Listen;

/// A socket that takes blocks. One of the file system goes with it.
#[derive(Debug)]
pub struct IngestListener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener, Bound),
}

/// A socket in the file system that this process has made.
#[derive(Debug)]
struct Bound {
    path: PathBuf,
    /// What lies there since; no other file has the same while the socket is open.
    file: FileId,
}

/// A file, by its device and inode.
type FileId = (u64, u64);

impl IngestListener {
    /// Listens there. A socket in the file system is for this user alone, and takes the place of one
    /// that nobody listens on, as a process leaves it that was killed.
    ///
    /// # Errors
    ///
    /// If it cannot. Nothing is removed then: not a file that is no socket, nor a socket of which it is
    /// not known that nobody listens.
    pub async fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => Ok(Self(Kind::Tcp(TcpListener::bind(address).await?))),
            Listen::Unix(path) => {
                clear(path).await?;
                let listener = UnixListener::bind(path)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
                let file = socket_at(path)?;
                let bound = file.map(|file| Bound { path: path.clone(), file });
                let gone = || io::Error::new(ErrorKind::NotFound, "the new socket has gone");
                Ok(Self(Kind::Unix(listener, bound.ok_or_else(gone)?)))
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.0 {
            Kind::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| String::new(), |at| format!("http://{at}"))
            }
            Kind::Unix(_, bound) => bound.path.display().to_string(),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match &self.0 {
            Kind::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Kind::Unix(listener, _) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

impl Drop for IngestListener {
    fn drop(&mut self) {
        let Kind::Unix(_, bound) = &self.0 else { return };
        // Something else may lie there by now: a file, or the socket of the next server.
        if socket_at(&bound.path).is_ok_and(|file| file == Some(bound.file)) {
            let _ = fs::remove_file(&bound.path);
        }
    }
}

/// Removes a socket that nobody listens on.
async fn clear(path: &Path) -> io::Result<()> {
    let Some(stale) = socket_at(path)? else { return Ok(()) };
    // Does not wait, even where a process listens that takes no connections any more.
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Ok(_) => return Err(in_use("another process listens there")),
        Err(error) => {
            let why = format!("it cannot be told whether another process listens there: {error}");
            return Err(in_use(&why));
        }
    }
    // Another server may have done the same meanwhile, and listen.
    if socket_at(path)? == Some(stale) { fs::remove_file(path) } else { Ok(()) }
}

fn in_use(why: &str) -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, why)
}

/// The socket at `path`; `None` if there is nothing, and an error if there is something else.
fn socket_at(path: &Path) -> io::Result<Option<FileId>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(metadata) if metadata.file_type().is_socket() => {
            Ok(Some((metadata.dev(), metadata.ino())))
        }
        Ok(_) => Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "it is not a socket, and is left as it is: remove it if nobody needs it",
        )),
    }
}

/// A connection of either kind.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
