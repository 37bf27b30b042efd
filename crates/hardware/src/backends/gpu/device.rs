//! One opened GPU: which adapter it is, whether it is still there, and one dispatch from operands to result.
//!
//! It knows no operation. Nothing here waits for ever, and no fault of the driver panics: every fault is a sentence.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;

use super::buffers::Pool;

/// A driver that has not answered by then is taken for hung.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What kind of machine executes the shaders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterKind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the processor's memory.
    Integrated,
    /// A GPU of a virtual machine, or of a kind that the driver does not tell.
    Other,
    /// No GPU: the processor executes the shaders. Correct, and never faster than the processor's own code.
    Software,
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Other => "other",
            Self::Software => "software",
        })
    }
}

/// How bytes reach the shaders and come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transfer {
    /// Processor and GPU map the same memory: bytes are written where the shader reads them.
    Shared,
    /// The driver copies through staging memory, over the bus where there is one.
    Staged,
}

/// What an adapter says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Adapter {
    /// The driver's name for it.
    pub name: String,
    /// What executes the shaders.
    pub kind: AdapterKind,
    /// The interface that it is reached through, "vulkan" or "metal".
    pub interface: String,
    /// The driver and its version.
    pub driver: String,
    /// How bytes travel.
    pub transfer: Transfer,
    /// Whether shaders can compute in double precision.
    pub f64: bool,
}

impl Adapter {
    fn of(adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let features = adapter.features();
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::Cpu => AdapterKind::Software,
            wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => AdapterKind::Other,
        };
        let one_memory = matches!(kind, AdapterKind::Integrated | AdapterKind::Software);
        let shared = one_memory && features.contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS);
        Self {
            name: info.name,
            kind,
            interface: info.backend.to_string(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            transfer: if shared { Transfer::Shared } else { Transfer::Staged },
            f64: features.contains(wgpu::Features::SHADER_F64),
        }
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.name, self.kind, self.interface)
    }
}

/// Environment switch that admits [`AdapterKind::Software`].
pub(crate) const SOFTWARE: &str = "NAUTILUS_GPU_SOFTWARE";

/// Whether the environment admits a software adapter.
pub(crate) fn software_is_admitted() -> bool {
    std::env::var(SOFTWARE).is_ok_and(|value| matches!(value.trim(), "1" | "true" | "on" | "yes"))
}

fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL;
    // Validation layers are for development of the shaders, not for every debug build that uses them.
    descriptor.flags = wgpu::InstanceFlags::empty();
    wgpu::Instance::new(descriptor)
}

/// Every adapter of this machine, software included, best kind first.
pub(crate) fn adapters() -> Vec<Adapter> {
    let found = pollster::block_on(instance().enumerate_adapters(wgpu::Backends::all()));
    let mut adapters: Vec<_> = found.iter().map(Adapter::of).collect();
    adapters.sort_by_key(|adapter| adapter.kind);
    adapters
}

/// Why a dispatch has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the GPU is gone: restart to look for it again")]
    Gone,
    #[error("the GPU has not answered within {} s and is not asked again", PATIENCE.as_secs())]
    Silent,
    #[error("the GPU refused the work: {0}")]
    Refused(String),
    #[error(
        "{what} takes {bytes} bytes, more than the {limit} that the GPU binds at once: use smaller pieces"
    )]
    TooLarge { what: &'static str, bytes: u64, limit: u64 },
}

/// An opened adapter.
#[derive(Debug)]
pub(crate) struct Device {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    adapter: Adapter,
    binding_max: u64,
    gone: Arc<AtomicBool>,
    pub(super) pool: Mutex<Pool>,
}

impl Device {
    /// Opens the best adapter: discrete before integrated before other; software only where `software` admits it. With
    /// `staged` bytes are copied also where they need not be.
    pub(crate) fn open(software: bool, staged: bool) -> Result<Self, String> {
        let found = pollster::block_on(instance().enumerate_adapters(wgpu::Backends::all()));
        let best = found
            .into_iter()
            .map(|adapter| (Adapter::of(&adapter), adapter))
            .filter(|(about, _)| software || about.kind != AdapterKind::Software)
            .min_by_key(|(about, _)| about.kind);
        let Some((mut about, adapter)) = best else {
            return Err(format!(
                "no GPU answers: install its Vulkan driver, or set {SOFTWARE}=1 to run the shaders on the processor"
            ));
        };
        let wanted = wgpu::Features::SHADER_F64 | wgpu::Features::MAPPABLE_PRIMARY_BUFFERS;
        let descriptor = wgpu::DeviceDescriptor {
            required_features: adapter.features() & wanted,
            required_limits: adapter.limits(),
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|error| format!("{about} does not open: {error}"))?;
        if staged {
            about.transfer = Transfer::Staged;
        }
        let limits = device.limits();
        let binding_max = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let gone = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&gone);
        device.set_device_lost_callback(move |reason, message| {
            flag.store(true, Ordering::Release);
            tracing::warn!(?reason, message, "the GPU is gone");
        });
        device.on_uncaptured_error(Arc::new(
            |error| tracing::error!(%error, "a GPU error outside of any work"),
        ));
        Ok(Self { device, queue, adapter: about, binding_max, gone, pool: Mutex::default() })
    }

    pub(crate) fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Gives the device up, as the loss of a GPU does.
    pub(crate) fn destroy(&self) {
        self.gone.store(true, Ordering::Release);
        self.device.destroy();
    }

    /// The largest buffer that a shader can see whole.
    pub(crate) fn binding_max(&self) -> u64 {
        self.binding_max
    }

    /// Does `work`, with every error that the driver reports meanwhile as the result.
    pub(crate) fn guarded<R>(&self, work: impl FnOnce() -> Result<R, Fault>) -> Result<R, Fault> {
        if self.is_gone() {
            return Err(Fault::Gone);
        }
        let filters =
            [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal];
        let [validation, memory, internal] = filters.map(|filter| self.device.push_error_scope(filter));
        let result = work();
        let caught = [internal, memory, validation].map(|scope| pollster::block_on(scope.pop()));
        if self.is_gone() {
            return Err(Fault::Gone);
        }
        match caught.into_iter().flatten().next() {
            Some(error) => Err(Fault::Refused(one_line(&error.to_string()))),
            None => result,
        }
    }

    pub(crate) fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    /// Waits until `submission` is done.
    pub(crate) fn wait(&self, submission: wgpu::SubmissionIndex) -> Result<(), Fault> {
        let patience = wgpu::PollType::Wait { submission_index: Some(submission), timeout: Some(PATIENCE) };
        match self.device.poll(patience) {
            Ok(_) if self.is_gone() => Err(Fault::Gone),
            Ok(_) => Ok(()),
            Err(wgpu::PollError::Timeout) => {
                self.gone.store(true, Ordering::Release);
                Err(Fault::Silent)
            }
            Err(error) => Err(Fault::Refused(error.to_string())),
        }
    }

    /// Lets the driver report what is done, without waiting.
    pub(crate) fn look(&self) -> Result<(), Fault> {
        match self.device.poll(wgpu::PollType::Poll) {
            _ if self.is_gone() => Err(Fault::Gone),
            Ok(_) => Ok(()),
            Err(error) => Err(Fault::Refused(error.to_string())),
        }
    }

    /// One pipeline for each entry point of a shader; all share the layout `bindings` as group 0.
    pub(crate) fn pipelines<const N: usize>(
        &self,
        source: &str,
        bindings: &[Binding],
        entry_points: [&str; N],
    ) -> Result<Pipelines<N>, Fault> {
        self.guarded(|| {
            let device = &self.device;
            let source = wgpu::ShaderSource::Wgsl(source.into());
            let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
            let entries: Vec<_> = (0..).zip(bindings).map(|(at, binding)| binding.entry(at)).collect();
            let group = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: None,
                entries: &entries,
            });
            let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &[Some(&group)],
                immediate_size: 0,
            });
            let stages = entry_points.map(|entry_point| {
                device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some(entry_point),
                    layout: Some(&layout),
                    module: &module,
                    entry_point: Some(entry_point),
                    compilation_options: wgpu::PipelineCompilationOptions::default(),
                    cache: None,
                })
            });
            Ok(Pipelines { group, stages })
        })
    }
}

/// How a shader uses a buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Binding {
    /// A few words that are the same for all threads.
    Uniform,
    /// Read only.
    Input,
    /// Read and written.
    Output,
}

impl Binding {
    fn entry(self, binding: u32) -> wgpu::BindGroupLayoutEntry {
        let ty = match self {
            Self::Uniform => wgpu::BufferBindingType::Uniform,
            Self::Input => wgpu::BufferBindingType::Storage { read_only: true },
            Self::Output => wgpu::BufferBindingType::Storage { read_only: false },
        };
        wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        }
    }
}

/// The stages of a shader, in the order in which they run.
#[derive(Debug)]
pub(crate) struct Pipelines<const N: usize> {
    group: wgpu::BindGroupLayout,
    stages: [wgpu::ComputePipeline; N],
}

impl<const N: usize> Pipelines<N> {
    /// Records all stages, each on its own number of workgroups, over one set of buffers.
    pub(crate) fn record(
        &self,
        device: &Device,
        encoder: &mut wgpu::CommandEncoder,
        buffers: &[&wgpu::Buffer],
        workgroups: [[u32; 3]; N],
    ) {
        let entries: Vec<_> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let group = device.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.group,
            entries: &entries,
        });
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_bind_group(0, &group, &[]);
        for (stage, [x, y, z]) in self.stages.iter().zip(workgroups) {
            pass.set_pipeline(stage);
            pass.dispatch_workgroups(x, y, z);
        }
    }
}

/// Driver messages span lines; a log line does not.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
