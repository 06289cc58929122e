import Foundation

/// Memory of the host, aligned for vectors and for huge pages. Large arrays touched page by page cost more time in the kernel than their first
/// use is worth, and later every row of a matrix another look-up of its address.
enum HostPages {
    /// - Returns: what `free` gives back; nil where there is no memory left.
    static func allocate(_ bytes: Int) -> UnsafeMutableRawPointer? {
        var pages: UnsafeMutableRawPointer?
        guard posix_memalign(&pages, 1 << 21, bytes) == 0, let pages else { return nil }
        madvise(pages, bytes, Int32(MADV_HUGEPAGE))
        return pages
    }
}
