//! Buffers of a GPU, kept for the next dispatch within bounds, and the ways of bytes into and out of them.
//!
//! Where processor and GPU share their memory the bytes are written where the shader reads them; elsewhere the driver
//! copies them through staging memory. A buffer whose dispatch failed is never used again.

use std::cell::OnceCell;
use std::sync::mpsc::{self, Receiver};

use super::device::{Device, Fault, PATIENCE, Transfer};

/// Idle buffers kept at most, and their bytes.
const IDLE_MAX: usize = 32;
const IDLE_BYTES_MAX: u64 = 256 << 20;
/// The smallest buffer: many small sizes share it.
const SIZE_MIN: u64 = 4096;

/// What a buffer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Written by the processor before each dispatch, read by shaders.
    Input,
    /// As [`Role::Input`], for the words that are the same for all threads.
    Uniform,
    /// Written by shaders and read back.
    Output,
    /// Written and read by shaders only.
    Scratch,
    /// What an output is copied into where the processor cannot map it.
    Staging,
}

impl Role {
    fn usage(self, transfer: Transfer) -> wgpu::BufferUsages {
        use wgpu::BufferUsages as Usage;
        let shared = transfer == Transfer::Shared;
        match self {
            Self::Input if shared => Usage::STORAGE | Usage::MAP_WRITE,
            Self::Input => Usage::STORAGE | Usage::COPY_DST,
            Self::Uniform => Usage::UNIFORM | Usage::COPY_DST,
            Self::Output if shared => Usage::STORAGE | Usage::MAP_READ,
            Self::Output => Usage::STORAGE | Usage::COPY_SRC,
            Self::Scratch => Usage::STORAGE | Usage::COPY_DST,
            Self::Staging => Usage::MAP_READ | Usage::COPY_DST,
        }
    }
}

/// Idle buffers.
#[derive(Debug, Default)]
pub(crate) struct Pool(Vec<(Role, wgpu::Buffer)>);

impl Pool {
    fn take(&mut self, role: Role, size: u64) -> Option<wgpu::Buffer> {
        let at = self.0.iter().position(|(kept, buffer)| *kept == role && buffer.size() == size)?;
        Some(self.0.remove(at).1)
    }

    fn put(&mut self, role: Role, buffer: wgpu::Buffer) {
        self.0.push((role, buffer));
        // The one that was idle longest goes first.
        while self.0.len() > IDLE_MAX || self.0.iter().map(|(_, b)| b.size()).sum::<u64>() > IDLE_BYTES_MAX {
            self.0.remove(0);
        }
    }
}

/// A buffer in use: of at least the bytes that were asked for, with content that no shader may rely on.
#[derive(Debug)]
pub(crate) struct Lease {
    role: Role,
    bytes: u64,
    pub(crate) buffer: wgpu::Buffer,
}

/// A result on its way to the processor.
#[derive(Debug)]
pub(crate) struct Pending {
    lease: Lease,
    submission: wgpu::SubmissionIndex,
    mapped: Receiver<Answer>,
    answer: OnceCell<Answer>,
}

/// What the driver says once a mapping is there, or will never be.
type Answer = Result<(), wgpu::BufferAsyncError>;

fn answer() -> (Receiver<Answer>, impl FnOnce(Answer) + Send + 'static) {
    let (sender, mapped) = mpsc::sync_channel(1);
    // The receiver is gone only when nobody waits any more.
    (mapped, move |answer| drop(sender.send(answer)))
}

impl Pending {
    /// Whether the result is there, or will never be.
    pub(crate) fn is_ready(&self) -> bool {
        if let Ok(answer) = self.mapped.try_recv() {
            let _ = self.answer.set(answer);
        }
        self.answer.get().is_some()
    }

    /// The driver may be answering on another thread's call of it, so its answer can come a moment later.
    fn wait(&self) -> Option<Answer> {
        let answer = || self.mapped.recv_timeout(PATIENCE).ok();
        self.answer.get().cloned().or_else(answer)
    }
}

impl Device {
    /// A buffer for `bytes` bytes, which are a multiple of 4.
    pub(crate) fn lease(&self, role: Role, what: &'static str, bytes: u64) -> Result<Lease, Fault> {
        let limit = self.binding_max();
        if bytes > limit {
            return Err(Fault::TooLarge { what, bytes, limit });
        }
        // Powers of two are found again in the pool.
        let size = bytes.max(SIZE_MIN).next_power_of_two().min(limit & !3);
        let kept = self.pool.lock().ok().and_then(|mut pool| pool.take(role, size));
        let buffer = kept.unwrap_or_else(|| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(what),
                size,
                usage: role.usage(self.adapter().transfer),
                mapped_at_creation: false,
            })
        });
        Ok(Lease { role, bytes, buffer })
    }

    /// Keeps buffers whose work is done.
    pub(crate) fn give_back(&self, leases: impl IntoIterator<Item = Lease>) {
        if let Ok(mut pool) = self.pool.lock() {
            leases.into_iter().for_each(|lease| pool.put(lease.role, lease.buffer));
        }
    }

    /// A buffer that holds what `fill` writes; it is called once for each piece and says where the piece belongs.
    pub(crate) fn input(
        &self,
        what: &'static str,
        bytes: usize,
        fill: impl FnOnce(&mut dyn FnMut(usize, &[u8])),
    ) -> Result<Lease, Fault> {
        let lease = self.lease(Role::Input, what, bytes as u64)?;
        let unavailable = || Fault::Refused(format!("{what}: no memory to write to"));
        match self.adapter().transfer {
            Transfer::Shared => {
                self.map(&lease, wgpu::MapMode::Write)?;
                let mut view = lease.buffer.get_mapped_range_mut(..lease.bytes).map_err(|_| unavailable())?;
                fill(&mut |at, piece| view.slice(at..at + piece.len()).copy_from_slice(piece));
                drop(view);
                lease.buffer.unmap();
            }
            Transfer::Staged => {
                let size = wgpu::BufferSize::new(lease.bytes).ok_or_else(unavailable)?;
                let mut view =
                    self.queue.write_buffer_with(&lease.buffer, 0, size).ok_or_else(unavailable)?;
                fill(&mut |at, piece| view.slice(at..at + piece.len()).copy_from_slice(piece));
            }
        }
        Ok(lease)
    }

    /// A buffer with a few words for all threads.
    pub(crate) fn uniform(&self, words: &[u32]) -> Result<Lease, Fault> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let lease = self.lease(Role::Uniform, "the parameters", bytes.len() as u64)?;
        self.queue.write_buffer(&lease.buffer, 0, &bytes);
        Ok(lease)
    }

    /// Overwrites the first bytes of a scratch buffer before whatever is submitted next.
    pub(crate) fn overwrite(&self, lease: &Lease, bytes: &[u8]) {
        self.queue.write_buffer(&lease.buffer, 0, bytes);
    }

    fn map(&self, lease: &Lease, mode: wgpu::MapMode) -> Result<(), Fault> {
        let (mapped, write) = answer();
        lease.buffer.map_async(mode, ..lease.bytes, write);
        // No work uses a buffer from the pool any more, so the answer is on its way.
        self.look()?;
        match mapped.recv_timeout(PATIENCE) {
            Ok(Ok(())) => Ok(()),
            _ => Err(Fault::Refused("a buffer is not mapped".to_owned())),
        }
    }

    /// Submits what `encoder` holds and asks for the content of `output` once it is done.
    pub(crate) fn submit(&self, mut encoder: wgpu::CommandEncoder, output: Lease) -> Result<Pending, Fault> {
        let lease = match self.adapter().transfer {
            Transfer::Shared => output,
            Transfer::Staged => {
                let staging = self.lease(Role::Staging, "the result", output.bytes)?;
                encoder.copy_buffer_to_buffer(&output.buffer, 0, &staging.buffer, 0, output.bytes);
                self.give_back([output]);
                staging
            }
        };
        let submission = self.queue.submit([encoder.finish()]);
        let (mapped, write) = answer();
        lease.buffer.map_async(wgpu::MapMode::Read, ..lease.bytes, write);
        Ok(Pending { lease, submission, mapped, answer: OnceCell::new() })
    }

    /// Waits for the result of `pending`.
    pub(crate) fn wait_for(&self, pending: &Pending) -> Result<(), Fault> {
        self.wait(pending.submission.clone())?;
        match pending.wait() {
            Some(Ok(())) => Ok(()),
            _ if self.is_gone() => Err(Fault::Gone),
            _ => Err(Fault::Refused("the result is not mapped".to_owned())),
        }
    }

    /// Hands the result, which has been waited for, to `read`.
    pub(crate) fn read<R>(&self, pending: Pending, read: impl FnOnce(&[u8]) -> R) -> Result<R, Fault> {
        let lease = pending.lease;
        let view = lease
            .buffer
            .get_mapped_range(..lease.bytes)
            .map_err(|error| Fault::Refused(format!("the result is not readable: {error}")))?;
        let result = read(&view);
        drop(view);
        lease.buffer.unmap();
        self.give_back([lease]);
        Ok(result)
    }
}
