internal import CImages
import RetortSupport

/// Reads a PNG or JPEG file (its content says which, not its name) as a picture of the wanted size and channels.
///
/// PNG of every colour type and depth, interlaced or not: palettes are expanded, 16 bits reduced to 8, transparency composited on
/// white, in the stored values. JPEG, baseline or progressive, grey or colour; CMYK is refused. Colour becomes grey by the luma of
/// ITU-R BT.601 (0.299 red, 0.587 green, 0.114 blue); grey becomes three equal channels. Colour profiles and EXIF orientation are
/// not looked at. Another size becomes the wanted one by `ImageResampler`, the aspect ratio not kept, or is refused.
struct ImageDecoder: Sendable {
    let options: ImageFolder.Options

    var imageBytes: Int { options.channels * options.height * options.width }

    /// - Parameter result: `[channels, height, width]`.
    /// - Throws: exit 66 when the file is not there; 65 when it is no such picture, damaged, beyond a limit, or of another size
    ///   where that is refused; 69 when the library for it is not installed; 74 on I/O errors.
    func decode(_ path: String, into result: UnsafeMutableBufferPointer<UInt8>) throws(RetortError) {
        try decode(InputFile.read(path, limit: options.limits.fileBytes), from: path, into: result)
    }

    /// Decodes a file that is already in memory; `path` is what errors call it. Throws as `decode(_:into:)`.
    func decode(
        _ bytes: [UInt8], from path: String, into result: UnsafeMutableBufferPointer<UInt8>
    ) throws(RetortError) {
        let format = try Format(bytes, path)
        try bytes.withUnsafeBufferPointer { (bytes) throws(RetortError) in
            try decode(UnsafeRawBufferPointer(bytes), format, path, into: result)
        }
    }

    private func decode(
        _ bytes: UnsafeRawBufferPointer, _ format: Format, _ path: String,
        into result: UnsafeMutableBufferPointer<UInt8>
    ) throws(RetortError) {
        var file = cimages_file()
        guard format.open(&file, bytes) else { throw Self.damaged(path, format, &file) }
        do throws(RetortError) {
            try check(file, path)
        } catch {
            format.close(&file)
            throw error
        }
        let (height, width, layout) = (Int(file.height), Int(file.width), file.layout)
        let pixelBytes = layout == CIMAGES_GREY ? 1 : layout == CIMAGES_RGB ? 3 : 4
        let pixels: [UInt8]
        do throws(RetortError) {
            pixels = try Allocation.array(count: height * width * pixelBytes, of: path.quoted(limit: 200)) {
                (buffer) throws(RetortError) in
                guard format.decode(&file, buffer.baseAddress!) else { throw Self.damaged(path, format, &file) }
            }
        } catch {
            // Memory that was not to be had leaves the file open; decoding always closes it.
            if file.handle != nil { format.close(&file) }
            throw error
        }
        if height == options.height, width == options.width {
            planes(of: pixels, pixelBytes, into: result)
        } else {
            let count = height * width
            var planar = [UInt8](repeating: 0, count: options.channels * count)
            let resampler = ImageResampler(
                height: height, width: width, toHeight: options.height, toWidth: options.width)
            planar.withUnsafeMutableBufferPointer { planar in
                planes(of: pixels, pixelBytes, into: planar)
                let size = options.height * options.width
                for c in 0..<options.channels {
                    resampler.resize(
                        UnsafeBufferPointer(rebasing: planar[(c * count)..<((c + 1) * count)]),
                        into: UnsafeMutableBufferPointer(rebasing: result[(c * size)..<((c + 1) * size)]))
                }
            }
        }
    }

    /// What can be refused before a pixel is decoded.
    private func check(_ file: cimages_file, _ path: String) throws(RetortError) {
        let (height, width) = (Int(file.height), Int(file.width))
        let limit = options.limits.sourcePixels
        guard height > 0, width > 0, height <= limit, width <= limit, height * width <= limit else {
            throw Self.refused(
                path, "it is \(width) × \(height) pixels; the limit is \(limit) in all",
                help: "Perhaps a damaged file; otherwise make the picture smaller.")
        }
        // Resizing goes over columns first: every line of the picture, as wide as the result.
        guard height * options.width <= max(limit, options.height * options.width) else {
            throw Self.refused(
                path, "it is \(width) × \(height) pixels, too high to be resized to a width of \(options.width)",
                help: "Make the picture smaller.")
        }
        guard file.layout != CIMAGES_CMYK else {
            throw Self.refused(path, "it is a CMYK picture", help: "Convert it to RGB.")
        }
        guard options.sizing == .resize || (height == options.height && width == options.width) else {
            throw Self.refused(
                path, "it is \(width) × \(height) pixels; wanted are \(options.width) × \(options.height)",
                help: "Resize the pictures, or let them be resized.")
        }
    }

    /// `[height, width, pixelBytes]` as `[channels, height, width]`.
    private func planes(of pixels: [UInt8], _ pixelBytes: Int, into planes: UnsafeMutableBufferPointer<UInt8>) {
        let count = pixels.count / pixelBytes
        for k in 0..<count {
            let at = k * pixelBytes
            guard pixelBytes > 1 else {
                for c in 0..<options.channels { planes[c * count + k] = pixels[at] }
                continue
            }
            let alpha = pixelBytes == 4 ? Int(pixels[at + 3]) : 255
            // On white, rounded: 255 is odd, so there are no ties.
            func composited(_ c: Int) -> Int { (Int(pixels[at + c]) * alpha + 255 * (255 - alpha) + 127) / 255 }
            let (red, green, blue) = (composited(0), composited(1), composited(2))
            if options.channels == 1 {
                // 0.299, 0.587, 0.114 in 2⁻¹⁶; they add up to 1, so grey stays itself.
                planes[k] = UInt8((red * 19_595 + green * 38_470 + blue * 7_471 + 32_768) >> 16)
            } else {
                (planes[k], planes[count + k], planes[2 * count + k]) = (UInt8(red), UInt8(green), UInt8(blue))
            }
        }
    }

    private static func damaged(_ path: String, _ format: Format, _ file: inout cimages_file) -> RetortError {
        let message = withUnsafeBytes(of: &file.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        return .badData(
            "\(path.quoted(limit: 200)) is a damaged \(format.name) file", at: RetortError.Location(file: path),
            why: message, help: "Replace or remove it.")
    }

    private static func refused(_ path: String, _ why: String, help: String) -> RetortError {
        .badData(
            "\(path.quoted(limit: 200)) cannot be used", at: RetortError.Location(file: path), why: why, help: help)
    }

    private enum Format {
        case png, jpeg

        var name: String { self == .png ? "PNG" : "JPEG" }

        /// - Throws: exit 65 for other content, 69 when the library is not installed.
        init(_ bytes: [UInt8], _ path: String) throws(RetortError) {
            let unavailable: UnsafePointer<CChar>?
            if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
                self = .png
                unavailable = cimages_png_load_error()
            } else if bytes.starts(with: [0xFF, 0xD8, 0xFF]) {
                self = .jpeg
                unavailable = cimages_jpeg_load_error()
            } else {
                throw ImageDecoder.refused(
                    path, bytes.isEmpty ? "it is empty" : "it is neither PNG nor JPEG", help: "Convert or remove it.")
            }
            if let unavailable {
                let (library, package) =
                    self == .png ? ("libpng", "libpng16-16") : ("TurboJPEG", "libturbojpeg0, on Ubuntu libturbojpeg")
                throw .device(
                    "\(library) cannot be loaded, and \(path.quoted(limit: 200)) is a \(name) file: "
                        + String(cString: unavailable),
                    help: "Install it (Debian, Ubuntu: apt install \(package)).")
            }
        }

        func open(_ file: inout cimages_file, _ bytes: UnsafeRawBufferPointer) -> Bool {
            switch self {
            case .png: cimages_png_open(&file, bytes.baseAddress, bytes.count)
            case .jpeg: cimages_jpeg_open(&file, bytes.baseAddress, bytes.count)
            }
        }

        func decode(_ file: inout cimages_file, _ pixels: UnsafeMutableRawPointer) -> Bool {
            switch self {
            case .png: cimages_png_decode(&file, pixels)
            case .jpeg: cimages_jpeg_decode(&file, pixels)
            }
        }

        func close(_ file: inout cimages_file) {
            switch self {
            case .png: cimages_png_close(&file)
            case .jpeg: cimages_jpeg_close(&file)
            }
        }
    }
}
