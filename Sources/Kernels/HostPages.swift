import Foundation

/// Memory of the host, aligned for vectors and for huge pages: most of what a large array costs when it is first touched are page faults.
enum HostPages {
    /// - Returns: what `free` gives back; nil where there is no memory left.
    static func allocate(_ bytes: Int) -> UnsafeMutableRawPointer? {
        var pages: UnsafeMutableRawPointer?
        guard posix_memalign(&pages, 1 << 21, bytes) == 0, let pages else { return nil }
        madvise(pages, bytes, Int32(MADV_HUGEPAGE))
        return pages
    }
}
