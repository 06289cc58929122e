// swift-tools-version: 6.2
import PackageDescription

/// One set of compiler settings for every Swift target: language mode 6, warnings are errors.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .treatAllWarnings(as: .error),
]

let yams = Target.Dependency.product(name: "Yams", package: "Yams")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "retort",
    products: [
        .executable(name: "retort", targets: ["retort"]),
        .library(name: "RetortDistillation", targets: ["RetortDistillation"]),
        .library(name: "RetortRuntime", targets: ["RetortRuntime"]),
        .library(name: "RetortKernels", targets: ["RetortKernels"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.0.0"),
    ],
    targets: [
        // The C boundary: headers, loaders, embedded kernel text, row kernels.
        .target(name: "COpenCL"),
        .target(name: "COpenBLAS"),
        .target(name: "CKernels", path: "kernels", sources: ["embed.c"], publicHeadersPath: "include"),
        .target(name: "CRows", linkerSettings: [.linkedLibrary("m")]),

        // The rooms, lowest first. Dependencies go one way.
        .target(name: "RetortSupport", path: "Sources/Support", swiftSettings: settings),
        .target(
            name: "RetortKernels",
            dependencies: ["COpenCL", "COpenBLAS", "CRows", "CKernels", "RetortSupport"],
            path: "Sources/Kernels", swiftSettings: settings),
        .target(
            name: "RetortRuntime", dependencies: ["RetortKernels", "RetortSupport"],
            path: "Sources/Runtime", swiftSettings: settings),
        .target(name: "RetortData", dependencies: ["RetortSupport"], path: "Sources/Data", swiftSettings: settings),
        .target(
            name: "RetortModels", dependencies: ["RetortRuntime", "RetortData", "RetortSupport"],
            path: "Sources/Models", swiftSettings: settings),
        .target(
            name: "RetortDistillation",
            dependencies: ["RetortModels", "RetortRuntime", "RetortData", "RetortSupport", yams],
            path: "Sources/Distillation", swiftSettings: settings),
        .target(
            name: "RetortConformance", dependencies: ["RetortDistillation", "RetortRuntime", "RetortData"],
            path: "Sources/Conformance", swiftSettings: settings),
        .executableTarget(
            name: "retort", dependencies: ["RetortConformance", "RetortDistillation", argumentParser],
            path: "Sources/retort", swiftSettings: settings),
    ]
)
