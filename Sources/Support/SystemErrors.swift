import Glibc

/// errno values as errors with words and the right exit code. `code` is always a positive errno.
enum SystemErrors {
    /// An output that could not be created or written.
    static func output(_ action: String, _ path: String, code: Int32) -> RetortError {
        let location = RetortError.Location(file: path)
        let what = "cannot \(action) \(path.quoted(limit: 200))"
        switch code {
        case EACCES, EPERM, EEXIST, ENOENT, ENOTDIR, EISDIR, EROFS, ENAMETOOLONG, ELOOP, ENOTEMPTY, EXDEV, EINVAL,
            ETXTBSY, EMLINK:
            return .cannotCreate(what, at: location, why: words(code), help: outputHelp(code))
        default:
            return .io(what, at: location, why: words(code), help: outputHelp(code))
        }
    }

    /// An input that could not be opened or read.
    static func input(_ action: String, _ path: String, code: Int32) -> RetortError {
        let location = RetortError.Location(file: path)
        let what = "cannot \(action) \(path.quoted(limit: 200))"
        switch code {
        case ENOENT, ENOTDIR:
            return .missingInput(what, at: location, why: words(code), help: "Check the path.")
        case EACCES, EPERM:
            return .missingInput(what, at: location, why: words(code), help: "Check the permissions of the path.")
        case ELOOP, ENAMETOOLONG, EINVAL, ENXIO, ENODEV:
            return .missingInput(what, at: location, why: words(code))
        case EISDIR:
            return .badData(what, at: location, why: "it is a directory; a file is needed here")
        default:
            return .io(what, at: location, why: words(code))
        }
    }

    /// What the system says about `code`, in plain words for the common cases.
    static func words(_ code: Int32) -> String {
        switch code {
        case ENOENT: "there is no such file or directory"
        case EEXIST: "it already exists"
        case EACCES: "permission denied"
        case ENOTDIR: "a part of the path is not a directory"
        case ENOSPC: "the disk is full"
        case EDQUOT: "the disk quota is used up"
        case EFBIG: "the file would exceed the size limit of the file system or the process"
        case EIO: "the device reported an input/output error"
        case EROFS: "the file system is read-only"
        default: String(cString: strerror(code)) + " (errno \(code))"
        }
    }

    private static func outputHelp(_ code: Int32) -> String {
        switch code {
        case ENOENT, ENOTDIR: "Create the directory first, or choose another path."
        case EACCES, EPERM, EROFS: "Choose a place you may write to."
        case EEXIST, ENOTEMPTY: "Choose another path."
        case ENOSPC, EDQUOT: "Free some space or choose another disk; nothing else was changed."
        default: ""
        }
    }
}
