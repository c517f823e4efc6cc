# What is installed, and the packages: parley (the command and the drop-in) and libparley-dev (library and headers).
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/parley)
install(TARGETS parley EXPORT parleyTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
install(DIRECTORY include/parley DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev)
install(EXPORT parleyTargets NAMESPACE parley:: DESTINATION ${package_dir} COMPONENT dev)
configure_package_config_file(cmake/parleyConfig.cmake.in ${PROJECT_BINARY_DIR}/parleyConfig.cmake
  INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor version may break its users.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/parleyConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(
  FILES ${PROJECT_BINARY_DIR}/parleyConfig.cmake ${PROJECT_BINARY_DIR}/parleyConfigVersion.cmake
  DESTINATION ${package_dir} COMPONENT dev)

# The .pc file finds its prefix from where it lies, so that the whole tree can be moved.
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH prefix_from_pc /prefix/${pkgconfig_dir} /prefix)
configure_file(cmake/parley.pc.in ${PROJECT_BINARY_DIR}/parley.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/parley.pc DESTINATION ${pkgconfig_dir} COMPONENT dev)

if(PARLEY_CLI)
  install(TARGETS parley_command DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT command)
  install(FILES man/parley.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT command)
endif()
if(PARLEY_COMPAT)
  # Beside the command, which preloads it; not in the linker's way.
  install(TARGETS parley_compat LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/parley
    COMPONENT command)
endif()
install(FILES README.md CHANGELOG.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT command)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "The Parley maintainers <maintainers@parley.invalid>")
set(CPACK_COMPONENTS_ALL command dev)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMMAND_PACKAGE_NAME parley)
set(CPACK_DEBIAN_COMMAND_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_COMMAND_PACKAGE_SECTION utils)
set(CPACK_COMPONENT_COMMAND_DESCRIPTION "${PROJECT_DESCRIPTION}: the command")
set(CPACK_DEBIAN_DEV_PACKAGE_NAME libparley-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "libseccomp-dev")
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_COMPONENT_DEV_DESCRIPTION "${PROJECT_DESCRIPTION}: the library and its headers")
include(CPack)

enable_testing()
set(package_test
  "package: an installed Parley serves consumers of CMake, of pkg-config and of the .deb")
add_test(NAME ${package_test}
  COMMAND ${PROJECT_SOURCE_DIR}/tests/package/run ${PROJECT_BINARY_DIR})
set_tests_properties(${package_test} PROPERTIES LABELS package TIMEOUT 300)
