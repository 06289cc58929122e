internal import COpenCL

/// A place in a device's work: reached once everything enqueued before it has run.
public final class Fence: Sendable {
    /// nil on a device whose work is done when a call returns.
    fileprivate nonisolated(unsafe) let event: cl_event?

    fileprivate init(_ event: cl_event?) { self.event = event }

    deinit { if let event { clReleaseEvent(event) } }
}

extension ComputeDevice {
    /// The place that the device's work has come to, as far as it is enqueued.
    public func fence() throws -> Fence {
        guard case .openCL(let device) = self else { return Fence(nil) }
        return Fence(try device.marker())
    }
}

/// Brings host memory to a device from any thread while the device is at work: on an OpenCL device through a queue of its own, where
/// the compute queue's own writes would wait for all that is enqueued there. Who uses it owes two things: what is written to is read
/// only after `write` has returned, and written again only after a fence behind its last reader.
public final class Transfer: Sendable {
    private let device: ComputeDevice
    /// Of an OpenCL device.
    private nonisolated(unsafe) let queue: cl_command_queue?

    public init(to device: ComputeDevice) throws {
        self.device = device
        guard case .openCL(let openCL) = device else {
            queue = nil
            return
        }
        queue = try openCL.makeQueue()
    }

    deinit {
        guard let queue else { return }
        clFinish(queue)
        clReleaseCommandQueue(queue)
    }

    /// Copies bytes to the beginning of a contiguous view, which they must not exceed; returns when they are there.
    /// - `fence`: is waited for first; nil: the view is free.
    public func write(_ bytes: UnsafeRawBufferPointer, to view: View, after fence: Fence? = nil) throws {
        precondition(view.isContiguous && bytes.count <= view.count * view.dtype.size, "\(bytes.count) \(view.shape)")
        guard let base = bytes.baseAddress, !bytes.isEmpty else { return }
        let offset = view.offset * view.dtype.size
        switch (device, view.storage) {
        case (.cpu, .host(let block)): (block.pointer + offset).copyMemory(from: base, byteCount: bytes.count)
        case (.openCL, .openCL(let block)):
            let events = [fence?.event].filter { $0 != nil }
            let status = events.withUnsafeBufferPointer {
                clEnqueueWriteBuffer(
                    queue, block.memory, cl_bool(CL_TRUE), block.offset + offset, bytes.count, base, cl_uint($0.count),
                    $0.isEmpty ? nil : $0.baseAddress, nil)
            }
            guard status == CL_SUCCESS else {
                throw openCLError(status, "clEnqueueWriteBuffer", "\(bytes.count) bytes beside the compute queue")
            }
        case (.planned, .planned): break
        default: throw KernelError(.operands, "a view of another device was passed to a transfer to \(device.name)")
        }
    }
}

extension OpenCLDevice {
    /// An event behind everything in the compute queue, which is handed to the device: another queue may wait for it.
    fileprivate func marker() throws -> cl_event? {
        var event: cl_event?
        let status = clEnqueueMarkerWithWaitList(queue, 0, nil, &event)
        guard status == CL_SUCCESS else { throw openCLError(status, "clEnqueueMarkerWithWaitList", info.name) }
        do { try flush() } catch {
            if let event { clReleaseEvent(event) }
            throw error
        }
        return event
    }

    /// A further in-order queue on the device.
    fileprivate func makeQueue() throws -> cl_command_queue {
        var status: Int32 = 0
        guard let queue = clCreateCommandQueue(context, info.deviceID, 0, &status), status == CL_SUCCESS else {
            throw openCLError(status, "clCreateCommandQueue", info.name)
        }
        return queue
    }
}
