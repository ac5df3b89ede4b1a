//! The head of the lane's memory. A process checks it before it believes anything else.

use crate::atomics::{AtomicU32, AtomicU64, Line, Ordering};
use crate::queue::{Ends, Entry};
use crate::shape::{GATEWAYS, PRIORITIES, Shape};
use crate::slot::Slot;
use crate::wake::{Desk, Sleepers, WORKERS_MAX};

const MAGIC: u64 = u64::from_be_bytes(*b"Regie/ln");

/// Changes with every change of what lies where or of who does what with it.
pub const VERSION: u32 = 4;

/// See the module.
#[repr(C)]
#[derive(Debug)]
pub struct Header {
    magic: AtomicU64,
    version: AtomicU32,
    /// Sizes of header, slot and entry, so that builds which differ in them do not meet.
    sizes: [AtomicU32; 3],
    shape: [AtomicU32; 4],
    /// A bit for each gateway's seat that was ever taken.
    pub(crate) open: AtomicU32,
    /// How many workers a gateway that knows more than it has sent wishes for, and one more; 0 where none says anything.
    pub(crate) wished: AtomicU32,
    /// Counts requests of all gateways, so that workers see which came first.
    pub(crate) tickets: Line<AtomicU64>,
    pub(crate) sleepers: Sleepers,
    /// Workers that are seated, a bit each.
    pub(crate) seated: Line<[AtomicU64; WORKERS_MAX / 64]>,
    pub(crate) gateways: [GatewaySeat; GATEWAYS],
    pub(crate) workers: [WorkerSeat; WORKERS_MAX],
}

/// What a gateway has besides its slots.
#[repr(C)]
#[derive(Debug)]
pub struct GatewaySeat {
    pub(crate) desk: Desk,
    pub(crate) rings: [Ends; PRIORITIES],
}

/// A worker's seat.
#[repr(C)]
#[derive(Debug)]
pub struct WorkerSeat {
    /// Who sits there, 0 for nobody.
    pub(crate) pid: AtomicU32,
    /// How often the seat was taken.
    pub(crate) generation: AtomicU32,
}

const SIZES: [usize; 3] = [size_of::<Header>(), size_of::<Slot>(), size_of::<Entry>()];

impl Header {
    /// What the gateway on `seat` is to look at.
    ///
    /// # Panics
    /// When there is no such seat.
    #[must_use]
    pub const fn desk(&self, seat: usize) -> &Desk {
        &self.gateways[seat].desk
    }

    /// Writes what [`Self::check`] looks for into zeroed memory. The magic comes last.
    pub(crate) fn write(&self, shape: Shape) {
        for (field, size) in self.sizes.iter().zip(SIZES) {
            field.store(u32::try_from(size).unwrap_or(0), Ordering::Relaxed);
        }
        let numbers = [shape.slots, shape.head, shape.request, shape.response];
        for (field, number) in self.shape.iter().zip(numbers) {
            field.store(number, Ordering::Relaxed);
        }
        self.version.store(VERSION, Ordering::Relaxed);
        self.magic.store(MAGIC, Ordering::Release);
    }

    /// The shape, when this is the memory of a lane of this version.
    ///
    /// # Errors
    /// Says what it is instead.
    pub(crate) fn check(&self) -> Result<Shape, String> {
        if self.magic.load(Ordering::Acquire) != MAGIC {
            return Err("this memory is no lane".into());
        }
        let version = self.version.load(Ordering::Relaxed);
        if version != VERSION {
            return Err(format!("the lane is of version {version}, this program of version {VERSION}"));
        }
        let sizes = [0, 1, 2].map(|at: usize| self.sizes[at].load(Ordering::Relaxed) as usize);
        if sizes != SIZES {
            return Err(format!("the lane's parts have sizes {sizes:?}, this program's {SIZES:?}"));
        }
        let [slots, head, request, response] =
            [0, 1, 2, 3].map(|at: usize| self.shape[at].load(Ordering::Relaxed));
        Shape { slots, head, request, response }.check().map_err(|bad| bad.to_string())
    }
}
