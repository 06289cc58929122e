import Testing
@testable import RetortConformance
